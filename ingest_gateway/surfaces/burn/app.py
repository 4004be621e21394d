"""The burn surface as an aiohttp application: its routes, held to schemas/openapi/burn.yaml."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from ingest_gateway.identity.authentication import Authenticator
from ingest_gateway.identity.credentials import bare
from ingest_gateway.identity.principals import BURN_KINDS
from ingest_gateway.log.telemetry import TelemetryClient
from ingest_gateway.services import SERVICES, Services
from ingest_gateway.surfaces.burn import breaches, forecast, gate, guardrails, traces
from ingest_gateway.surfaces.burn.asking import TELEMETRY
from ingest_gateway.surfaces.burn.edge.app import add_edge, is_edge
from ingest_gateway.surfaces.burn.faults import NOT_READY, render
from ingest_gateway.surfaces.burn.ingest import ingest
from ingest_gateway.surfaces.contract import hold_to, load_document
from ingest_gateway.surfaces.documents.routes import add_documents
from ingest_gateway.surfaces.surface import Surface

HEADER = "AtlasBurn-API-Key"
PRESENTATION = bare(HEADER, lambda request: not is_edge(request))
"""At the edge `Authorization` is the provider's."""
ROUTES = (
    web.post("/api/ingest", ingest, name="ingest"),
    *gate.ROUTES,
    *guardrails.ROUTES,
    *breaches.ROUTES,
    *forecast.ROUTES,
    *traces.ROUTES,
)


def make_app(services: Services) -> web.Application:
    """Served by `http.server.serve` with `faults.render`. Raises ContractBroken."""
    settings = services.settings
    app = web.Application(middlewares=[_once_ready(services)])
    app[SERVICES] = services
    app[TELEMETRY] = TelemetryClient(
        services.events,
        services.verdicts,
        append_seconds=settings.append_timeout_seconds,
        verdict_seconds=settings.verdict_timeout_seconds,
    )
    document = load_document("burn")
    app.add_routes(hold_to(document, ROUTES))
    add_documents(app, document, "atlas-burn-api")
    add_edge(app, services, PRESENTATION, app[TELEMETRY])
    return app


def _once_ready(services: Services) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Until this gateway has read `control`, the edge proxy alone answers; from then on new keys are looked for."""
    authenticate = services.authenticate

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if services.control.ready:
            if isinstance(authenticate, Authenticator):
                await authenticate.await_news_of(request)
        elif not is_edge(request):
            raise NOT_READY.refused()
        return await handler(request)

    return middleware


BURN = Surface("burn", make_app, render, BURN_KINDS, PRESENTATION, fails_open=True)
