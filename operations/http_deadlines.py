"""aiohttp's connections and server with deadlines that aiohttp does not have; every listener of Atlas uses them.

- A connection whose head is not complete in `head_seconds` is closed: silent ones, and those that send byte by byte.
- A client that takes nothing of its answer for `write_seconds` is cut off.
- With a bound on connections the oldest is closed for the newest, so that a probe always gets in.

Idle connections between requests have aiohttp's own `keepalive_timeout`. One timer of the server watches all deadlines,
so that requests set none. This reaches into `RequestHandler` (aiohttp's `web_protocol.py`) and `Server`, as
tests/contract/test_operations_port.py and tests/contract/http would notice after an upgrade.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

SWEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Of one connection. `head_seconds`: from the connection, or a later head's first bytes, to the complete head."""

    head_seconds: float = 10.0
    write_seconds: float = 30.0
    connections_max: int | None = None


class TimedConnection(RequestHandler):
    """Data that arrives slowly after a complete head counts as a slow head too: a server that reads bodies overrides
    `data_received`.
    """

    __slots__ = ("_deadlines", "_head_since", "_stalled_since")

    def __init__(self, server: Server, deadlines: Deadlines, **settings: Any) -> None:
        super().__init__(server, **settings)
        self._deadlines = deadlines
        self._head_since: float | None = self._loop.time()
        self._stalled_since: float | None = None

    def data_received(self, data: bytes) -> None:
        parsed_before = self._request_count
        super().data_received(data)
        if self._request_count != parsed_before:
            self._head_since = None
        elif self._head_since is None:
            self._head_since = self._loop.time()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_since = self._loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled_since = None

    def check_deadlines(self, now: float) -> None:
        """Called about once a second by the server, with its loop's time."""
        if self._head_since is not None and now - self._head_since > self._deadlines.head_seconds:
            self._head_since = None
            self.on_head_overdue()
        stalled = self._stalled_since is not None and now - self._stalled_since > self._deadlines.write_seconds
        if stalled and self.transport is not None:
            self.transport.abort()

    def on_head_overdue(self) -> None:
        self.force_close()


class TimedServer(Server):
    """Makes its connections in `__call__`, and looks after their deadlines with one timer for all of them."""

    def __init__(self, stock: Server, handler: Any, deadlines: Deadlines) -> None:
        """`stock`: the server that aiohttp's runner made, whose settings are kept."""
        super().__init__(handler, request_factory=stock.request_factory, loop=stock._loop, **cast(Any, stock._kwargs))
        self._deadlines = deadlines
        self._sweep_seconds = min(SWEEP_SECONDS, deadlines.head_seconds / 4)
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(self._sweep_seconds, self._sweep)

    def __call__(self) -> TimedConnection:
        return TimedConnection(self, self._deadlines, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        most = self._deadlines.connections_max
        if most is not None and len(self._connections) > most:
            next(iter(self._connections.values())).abort()

    async def shutdown(self, timeout: float | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await super().shutdown(timeout)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in self.connections:
            cast(TimedConnection, connection).check_deadlines(now)
        self._timer = self._loop.call_later(self._sweep_seconds, self._sweep)


class TimedRunner(web.AppRunner):
    """aiohttp's runner with a TimedServer in place of its own."""

    __slots__ = ("_deadlines",)

    def __init__(self, app: web.Application, deadlines: Deadlines, **settings: Any) -> None:
        super().__init__(app, access_log=None, **settings)
        self._deadlines = deadlines

    async def _make_server(self) -> Server:
        stock = await super()._make_server()
        return TimedServer(stock, stock.request_handler, self._deadlines)
