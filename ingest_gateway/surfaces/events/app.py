"""The events surface as an aiohttp application: its routes, held to schemas/openapi/events.yaml."""

from aiohttp import web

from domain.security.principals import EVENTS_KINDS
from ingest_gateway.services import SERVICES, Services
from ingest_gateway.surfaces.documents.routes import add_documents
from ingest_gateway.surfaces.events import (
    audit,
    keys,
    listing,
    lookups,
    publish,
    publish_batch,
    replays,
    streams,
    webhook_endpoints,
    workflows,
)
from ingest_gateway.surfaces.events.cors import add_cors
from ingest_gateway.surfaces.events.errors import render
from ingest_gateway.surfaces.shared.contract import hold_to, load_document
from ingest_gateway.surfaces.shared.positions import add_position
from ingest_gateway.surfaces.shared.publishing import PUBLISHER, event_publisher
from ingest_gateway.surfaces.shared.reads import add_incomplete
from ingest_gateway.surfaces.surface import Surface

ROUTES = (
    *(*streams.ROUTES, *workflows.ROUTES, *keys.ROUTES, *webhook_endpoints.ROUTES),
    *(*publish.ROUTES, *publish_batch.ROUTES, *listing.ROUTES, *lookups.ROUTES, *audit.ROUTES, *replays.ROUTES),
)


def make_app(services: Services) -> web.Application:
    """Served by `http.server.serve` with `errors.render`. Raises ContractBroken."""
    app = web.Application()
    app[SERVICES] = services
    app.on_response_prepare.append(add_position)
    app.on_response_prepare.append(add_incomplete)
    app[PUBLISHER] = event_publisher(services)
    document = load_document("events")
    app.add_routes(hold_to(document, ROUTES))
    add_cors(app, document)
    add_documents(app, document, "atlas-events-api")
    return app


EVENTS = Surface("events", make_app, render, EVENTS_KINDS)
