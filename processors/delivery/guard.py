"""A resolver that refuses a name with one forbidden address among good ones whole, whichever would have been dialled.

Beside the check on each socket (operations/outgoing.py), which can't be passed by.
"""

import socket

from aiohttp.abc import ResolveResult

from operations.outgoing import check_address
from processors.delivery.resolver import Resolver


class GuardedResolver(Resolver):
    """Raises ConnectForbidden for a name that has a forbidden address."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        for result in found:
            check_address(result["host"])
        return found
