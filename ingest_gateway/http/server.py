"""Starts one surface's listener: its aiohttp application behind the guard, on connections with deadlines and limits.

How it ends, so that no client is cut off: `end_connections` (each answer from then on is its connection's last), then
`cleanup`: no new connections, requests under way are answered, idle connections are closed.
"""

import asyncio
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.web_server import Server

from ingest_gateway.http.connection import Connection
from ingest_gateway.http.errors import Renderer
from ingest_gateway.http.guard import Guard
from ingest_gateway.http.limits import DEFAULT_LIMITS, HttpLimits
from ingest_gateway.http.listening import accept_the_last
from operations.http_deadlines import TimedServer

LOOK_SECONDS = 0.02
CUT_OFF_SECONDS = 0.3  # for a handler that is cancelled, once its client's time is over


async def serve(
    app: web.Application,
    host: str,
    port: int,
    *,
    surface: str,
    render: Renderer,
    limits: HttpLimits = DEFAULT_LIMITS,
    reuse_port: bool = False,
) -> "SurfaceRunner":
    """Listens until the runner's `cleanup()`, which lets requests under way finish for `limits.shutdown_seconds`.

    `surface` is the metrics' label; `render` makes every error answer; routes are named after their operations. Port 0
    takes a free one, see `runner.port`. Raises OSError where the address is in use.
    """
    runner = SurfaceRunner(app, surface, render, limits)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=limits.backlog, reuse_port=reuse_port or None).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


class SurfaceRunner(web.AppRunner):
    """aiohttp's runner with our server instead of its own."""

    __slots__ = ("_limits", "_render", "_shut_down", "_surface")

    def __init__(self, app: web.Application, surface: str, render: Renderer, limits: HttpLimits) -> None:
        super().__init__(
            app,
            access_log=None,
            auto_decompress=False,  # `bodies` does it, with a bound
            handler_cancellation=False,  # a client that leaves must not undo half of what it asked for
            keepalive_timeout=limits.keepalive_seconds,
            lingering_time=limits.lingering_seconds,
            max_line_size=limits.line_bytes_max,
            max_field_size=limits.line_bytes_max,
            max_headers=limits.headers_max,
            shutdown_timeout=CUT_OFF_SECONDS,
        )
        self._surface, self._render, self._limits = surface, render, limits
        self._shut_down = False

    @property
    def port(self) -> int:
        return int(self.addresses[0][1])

    def end_connections(self) -> None:
        """From now on every answer says `Connection: close`, and new connections are for one request each."""
        if self._server is not None:
            cast(GuardedServer, self._server).ending = True

    async def cleanup(self) -> None:
        """Stops listening, lets requests finish for `limits.shutdown_seconds`, and cuts off those that have not."""
        self.end_connections()
        servers = [cast(Any, site)._server for site in self.sites]  # None where the address was in use
        await accept_the_last([socket for server in servers if server is not None for socket in server.sockets])
        for site in self.sites:
            await site.stop()
        if self._server is not None:
            await self.shutdown()  # ends what an application runs that never ends by itself
            await cast(GuardedServer, self._server).finish(self._limits.shutdown_seconds)
        await super().cleanup()

    async def shutdown(self) -> None:
        if not self._shut_down:
            self._shut_down = True
            await super().shutdown()

    async def _make_server(self) -> Server:
        for route in self._app.router.routes():
            route._expect_handler = _leave_to_the_reader
        self._app.on_response_prepare.append(self._end_with_this_answer)
        stock = await super()._make_server()
        guard = Guard(cast(Any, stock.request_handler), self._surface, self._render, self._limits)
        return GuardedServer(stock, guard, self._limits)

    async def _end_with_this_answer(self, _request: web.BaseRequest, response: web.StreamResponse) -> None:
        if cast(GuardedServer, self._server).ending:
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"  # aiohttp has decided on this header already


class GuardedServer(TimedServer):
    """Makes our connections."""

    def __init__(self, stock: Server, guard: Guard, limits: HttpLimits) -> None:
        super().__init__(stock, guard, limits.deadlines)
        self.ending = False
        """No connection outlives its next answer."""
        self._guard = guard
        self._limits = limits

    def __call__(self) -> Connection:
        return Connection(self, self._guard, self._limits, loop=self._loop, **self._kwargs)

    async def finish(self, seconds: float) -> None:
        """Returns when every connection has had the answer that it waits for, or the time is over."""
        deadline = self._loop.time() + seconds
        while self.connections and (now := self._loop.time()) < deadline:
            for connection in cast(list[Connection], self.connections):
                if connection.is_idle(now):
                    connection.force_close()
            await asyncio.sleep(LOOK_SECONDS)


async def _leave_to_the_reader(request: web.Request) -> None:
    """`bodies` sends `100 Continue` once it knows that it wants the body; aiohttp would before the handler runs."""
