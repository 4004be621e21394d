"""The document's three rate headers on every answer (S-046), also where no bucket was used: then those of an idle
bucket.

An answer to a good key has its org's own bucket (limits/enforcement.py). One to a bad key, or at an unknown address,
has an idle bucket's values, so that a client always finds the same headers.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from domain.limits.quotas import RATE_CLASSES
from ingest_gateway.surfaces.shared.contract import operations_of

LIMIT, REMAINING, RESET = "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"
READS = frozenset({"GET", "HEAD"})


def add_rate_headers(document: Mapping[str, Any]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal's handler (`on_response_prepare`)."""
    by_name = {operation.name: operation.rate_class for operation in operations_of(document).values()}
    reading, writing = RATE_CLASSES["spine.read"], RATE_CLASSES["spine.write"]

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        if LIMIT in response.headers:
            return
        named = by_name.get(request.match_info.route.name or "")
        rate_class = named or (reading if request.method in READS else writing)
        limit = str(rate_class.quota.burst)
        response.headers.update({LIMIT: limit, REMAINING: limit, RESET: str(int(time.time()))})

    return add
