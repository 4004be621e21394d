"""The spine as an aiohttp application: its routes, held to schemas/openapi/spine.yaml."""

from aiohttp import web

from ingest_gateway.identity.authentication import Authenticator, key_news
from ingest_gateway.identity.principals import SPINE_KINDS
from ingest_gateway.log.system_streams import SystemStreams
from ingest_gateway.services import SERVICES, Services
from ingest_gateway.surfaces.contract import hold_to, load_document
from ingest_gateway.surfaces.events.answers import add_position
from ingest_gateway.surfaces.spine import correlations, event_types, publish, query, subscriptions
from ingest_gateway.surfaces.spine.faults import render
from ingest_gateway.surfaces.spine.publishing import SYSTEM_STREAM
from ingest_gateway.surfaces.spine.rates import add_rate_headers
from ingest_gateway.surfaces.surface import Surface
from schemas.spine_events import STREAM

ROUTES = (*publish.ROUTES, *query.ROUTES, *subscriptions.ROUTES, *correlations.ROUTES, *event_types.ROUTES)


def make_app(services: Services) -> web.Application:
    """Served by `http.server.serve` with `faults.render`. Raises ContractBroken."""
    authenticate = services.authenticate
    news = [key_news(authenticate)] if isinstance(authenticate, Authenticator) else []
    app = web.Application(middlewares=news)
    app[SERVICES] = services
    timeout_seconds = services.settings.verdict_timeout_seconds
    app[SYSTEM_STREAM] = SystemStreams(STREAM, services.control, services.commands, timeout_seconds=timeout_seconds)
    document = load_document("spine")
    app.on_response_prepare.append(add_position)
    app.on_response_prepare.append(add_rate_headers(document))
    app.add_routes(hold_to(document, ROUTES))
    return app


SPINE = Surface("spine", make_app, render, SPINE_KINDS)
