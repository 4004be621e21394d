"""Starts one surface's listener: its aiohttp application behind the guard, on connections with deadlines and limits."""

from typing import Any, cast

from aiohttp import web
from aiohttp.web_server import Server

from ingest_gateway.http.connection import Connection
from ingest_gateway.http.faults import Renderer
from ingest_gateway.http.guard import Guard
from ingest_gateway.http.limits import DEFAULT_LIMITS, HttpLimits
from ingest_gateway.metrics import HTTP_UNREADABLE
from operations.http_deadlines import TimedServer


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
    takes a free one: `runner.port` tells it. Raises OSError when the address can't be had.
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
    """aiohttp's runner with our server in place of its own."""

    __slots__ = ("_limits", "_render", "_surface")

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
            shutdown_timeout=limits.shutdown_seconds,
        )
        self._surface, self._render, self._limits = surface, render, limits

    @property
    def port(self) -> int:
        return int(self.addresses[0][1])

    async def _make_server(self) -> Server:
        for route in self._app.router.routes():
            route._expect_handler = _leave_to_the_reader
        stock = await super()._make_server()
        guard = Guard(cast(Any, stock.request_handler), self._surface, self._render, self._limits)
        return GuardedServer(stock, guard, self._surface, self._limits)


class GuardedServer(TimedServer):
    """Makes our connections."""

    def __init__(self, stock: Server, guard: Guard, surface: str, limits: HttpLimits) -> None:
        super().__init__(stock, guard, limits.deadlines)
        self.limits = limits
        self._guard = guard
        self._surface = surface

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def answer_unreadable(self, status: int, reason: str, peer: str) -> web.Response:
        return self._guard.answer_unreadable(status, reason, peer)

    def count_unreadable(self, reason: str) -> None:
        HTTP_UNREADABLE.labels(self._surface, reason).inc()


async def _leave_to_the_reader(request: web.Request) -> None:
    """`bodies` sends `100 Continue` once it knows that it wants the body; aiohttp would before the handler runs."""
