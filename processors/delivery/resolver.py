"""Looks names up in threads of its own: a slow name server delays the names that it serves, and no others.

The event loop's own look-ups share a few threads with other blocking calls. Here the names that were quick the last
time have their own threads, and all others (unknown, slow, failing) share the rest. A name is looked up once at a time:
later callers wait for the same answer, even after the first caller has given up.

GuardedResolver refuses names with a forbidden address. The check on each socket (operations/outgoing.py) can't be
bypassed; this one refuses the name as a whole, whichever of its addresses would be dialled.
"""

import asyncio
import socket
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from operations.outgoing import check_address

THREADS_OF_QUICK, THREADS_OF_OTHERS = 16, 32
QUICK_SECONDS = 1.0
QUICK_NAMES_MAX = 20_000
_ADDRCONFIG = socket.AI_ADDRCONFIG  # no IPv6 address where the machine has none itself
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Resolver(AbstractResolver):
    """`resolve` raises OSError (socket.gaierror) if a name has no address. Make it on the running loop."""

    def __init__(self) -> None:
        self._quick = ThreadPoolExecutor(THREADS_OF_QUICK, "names-quick")
        self._others = ThreadPoolExecutor(THREADS_OF_OTHERS, "names")
        self._quick_names: OrderedDict[str, None] = OrderedDict()
        self._running: dict[tuple[str, int], asyncio.Future[list[Any]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.shield(self._asked(host, family))
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=_NUMERIC)
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Look-ups that still run end on their own."""
        for pool in (self._quick, self._others):
            pool.shutdown(wait=False, cancel_futures=True)

    def _asked(self, host: str, family: int) -> "asyncio.Future[list[Any]]":
        running = self._running.get((host, family))
        if running is None:
            pool = self._quick if host in self._quick_names else self._others
            ask = partial(socket.getaddrinfo, host, None, family=family, type=socket.SOCK_STREAM, flags=_ADDRCONFIG)
            running = asyncio.get_running_loop().run_in_executor(pool, ask)
            self._running[host, family] = running
            running.add_done_callback(partial(self._answered, host, family, time.monotonic()))
        return running

    def _answered(self, host: str, family: int, asked_at: float, answer: "asyncio.Future[list[Any]]") -> None:
        del self._running[host, family]
        failed = answer.cancelled() or answer.exception() is not None
        if failed or time.monotonic() - asked_at > QUICK_SECONDS:
            self._quick_names.pop(host, None)
            return
        self._quick_names[host] = None
        self._quick_names.move_to_end(host)
        if len(self._quick_names) > QUICK_NAMES_MAX:
            self._quick_names.popitem(last=False)


class GuardedResolver(Resolver):
    """Raises ConnectForbidden for a name that has a forbidden address."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        for result in found:
            check_address(result["host"])
        return found
