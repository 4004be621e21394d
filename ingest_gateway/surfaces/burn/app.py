"""The burn surface as an aiohttp application: its routes, held to schemas/openapi/burn.yaml."""

from aiohttp import web

from domain.security.principals import BURN_KINDS
from ingest_gateway.identity.credentials import bare
from ingest_gateway.log.telemetry import TelemetryClient
from ingest_gateway.services import SERVICES, Services
from ingest_gateway.surfaces.burn import breaches, forecast, gate, guardrails, traces
from ingest_gateway.surfaces.burn.asking import TELEMETRY
from ingest_gateway.surfaces.burn.edge.app import add_edge, is_edge
from ingest_gateway.surfaces.burn.errors import render
from ingest_gateway.surfaces.burn.ingest import ingest
from ingest_gateway.surfaces.documents.routes import add_documents
from ingest_gateway.surfaces.shared.contract import hold_to, load_document
from ingest_gateway.surfaces.surface import Surface
from schemas.topics import LIVE

HEADER = "AtlasBurn-API-Key"
PRESENTATION = bare(HEADER, lambda request: not is_edge(request))
"""The edge routes pass `Authorization` on to the provider, so only the other routes read it as a key."""
ROUTES = (
    web.post("/api/ingest", ingest, name="ingest"),
    *gate.ROUTES,
    *guardrails.ROUTES,
    *breaches.ROUTES,
    *forecast.ROUTES,
    *traces.ROUTES,
)


def make_app(services: Services) -> web.Application:
    """Served by `http.server.serve` with `errors.render`. Raises ContractBroken."""
    settings = services.settings
    app = web.Application()
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


BURN = Surface(
    "burn",
    make_app,
    render,
    kinds=BURN_KINDS,
    presentation=PRESENTATION,
    environments=frozenset({LIVE}),  # each organization has one ledger (B-046)
    fails_open=True,
)
