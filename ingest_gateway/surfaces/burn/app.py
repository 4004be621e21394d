"""The burn surface as an aiohttp application: its routes, held to schemas/openapi/burn.yaml."""

from aiohttp import web

from ingest_gateway.identity.authentication import Authenticator, key_news
from ingest_gateway.identity.credentials import bare
from ingest_gateway.log.telemetry import TelemetryClient
from ingest_gateway.services import SERVICES, Services
from ingest_gateway.surfaces.burn.asking import TELEMETRY
from ingest_gateway.surfaces.burn.faults import render
from ingest_gateway.surfaces.burn.ingest import ingest
from ingest_gateway.surfaces.contract import hold_to, load_document
from ingest_gateway.surfaces.surface import Surface
from schemas.entities import KeyKind

HEADER = "AtlasBurn-API-Key"
ROUTES = (web.post("/api/ingest", ingest, name="ingest"),)


def make_app(services: Services) -> web.Application:
    """Served by `http.server.serve` with `faults.render`. Raises ContractBroken."""
    authenticate, settings = services.authenticate, services.settings
    app = web.Application(middlewares=[key_news(authenticate)] if isinstance(authenticate, Authenticator) else [])
    app[SERVICES] = services
    app[TELEMETRY] = TelemetryClient(
        services.events,
        services.verdicts,
        append_seconds=settings.append_timeout_seconds,
        verdict_seconds=settings.verdict_timeout_seconds,
    )
    app.add_routes(hold_to(load_document("burn"), ROUTES))
    return app


BURN = Surface("burn", make_app, render, frozenset({KeyKind.ORG}), bare(HEADER))
