"""The operations port of every process: `/metrics` for Prometheus, `/healthz` (alive), `/readyz` (caught up).

`Readiness` holds named conditions; a process is ready when each says yes. `/readyz` names those that do not, and what
works worse than it should though the process is ready.
"""

from collections.abc import Callable

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from operations.http_deadlines import Deadlines, TimedRunner
from operations.metrics import READY

DEADLINES = Deadlines(connections_max=100)
KEEPALIVE_SECONDS = 75.0  # Prometheus keeps its connection from scrape to scrape
LINGERING_SECONDS = 2.0  # a body that nobody asked for is read and thrown away, and then cut off


class Readiness:
    """Named conditions, each a function: None when fulfilled, else what is missing."""

    def __init__(self) -> None:
        self._conditions: dict[str, Callable[[], str | None]] = {}
        self._degrading: dict[str, Callable[[], str | None]] = {}

    def require(self, name: str, condition: Callable[[], str | None]) -> None:
        self._conditions[name] = condition

    def degrade(self, name: str, condition: Callable[[], str | None]) -> None:
        """Shown on `/readyz`, but no reason to be unready."""
        self._degrading[name] = condition

    def missing(self) -> dict[str, str]:
        return _unmet(self._conditions)

    def degraded(self) -> dict[str, str]:
        return _unmet(self._degrading)


def operations_app(readiness: Readiness) -> web.Application:
    READY.set_function(lambda: 0.0 if readiness.missing() else 1.0)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_request: web.Request) -> web.Response:
        return _json({"status": "alive"})

    async def readyz(_request: web.Request) -> web.Response:
        missing, degraded = readiness.missing(), readiness.degraded()
        said = {"status": "not ready", "missing": missing} if missing else {"status": "ready"}
        return _json(said | ({"degraded": degraded} if degraded else {}), 503 if missing else 200)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    return app


async def serve_operations(
    readiness: Readiness, host: str, port: int, deadlines: Deadlines = DEADLINES
) -> web.AppRunner:
    """Starts the port on the running loop; the caller cleans the runner up."""
    runner = TimedRunner(
        operations_app(readiness),
        deadlines,
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=LINGERING_SECONDS,
    )
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


def _unmet(conditions: dict[str, Callable[[], str | None]]) -> dict[str, str]:
    return {name: reason for name, check in conditions.items() if (reason := check()) is not None}


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
