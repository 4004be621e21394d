"""How a gateway process is asked to end, and how it leaves load balancers.

SIGTERM drains: `/readyz` says so at once, the listeners go on serving for `ATLAS_DRAIN_SECONDS`, in the second half of
which every answer is its connection's last. So a balancer has the first half to notice, and no connection that it keeps
is closed under a request of its own. SIGINT (Ctrl-C) ends without it.
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable

from operations import logs

log = logging.getLogger("atlas.gateway")
FATAL_EXIT_SECONDS = 4.5


class Stop:
    """Why and when the process ends. `exit_code` is 0 for a stop that was asked for."""

    def __init__(self, drain_seconds: float = 0.0) -> None:
        self.asked = asyncio.Event()
        self.exit_code = 0
        self._drain_seconds = drain_seconds
        self._no_drain = asyncio.Event()

    def ask(self, number: signal.Signals) -> None:
        """Only SIGTERM drains: a person who types Ctrl-C waits for the end."""
        if number != signal.SIGTERM:
            self._no_drain.set()
        self.asked.set()

    def fail(self, reason: str) -> None:
        logs.event(log, "gateway.failed", logging.CRITICAL, reason=reason)
        self.exit_code = 1
        self._no_drain.set()
        self.asked.set()
        last_word = threading.Timer(FATAL_EXIT_SECONDS, os._exit, (1,))
        last_word.daemon = True
        last_word.start()

    def missing(self) -> str | None:
        """Why no new work may be sent here, for the readiness check."""
        return "draining: send requests elsewhere" if self.asked.is_set() else None

    async def drained(self, end_connections: Callable[[], None]) -> None:
        """Returns when the listeners may stop. `end_connections` is called when the first half is over."""
        half_seconds = self._drain_seconds / 2
        logs.event(log, "gateway.stopping", drain_seconds=0.0 if self._no_drain.is_set() else self._drain_seconds)
        await self._passes(half_seconds)
        end_connections()
        await self._passes(half_seconds)

    async def _passes(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._no_drain.wait()
