"""The spine as an aiohttp application: its routes, held to schemas/openapi/spine.yaml."""

from aiohttp import web

from domain.events.spine_events import STREAM
from domain.security.principals import SPINE_KINDS
from ingest_gateway.log.system_streams import SystemStreams
from ingest_gateway.services import SERVICES, Services
from ingest_gateway.surfaces.documents.routes import add_documents
from ingest_gateway.surfaces.shared.contract import hold_to, load_document
from ingest_gateway.surfaces.shared.positions import add_position
from ingest_gateway.surfaces.shared.publishing import PUBLISHER, event_publisher
from ingest_gateway.surfaces.shared.reads import add_incomplete
from ingest_gateway.surfaces.spine import correlations, event_types, live_stream, publish, query, subscriptions
from ingest_gateway.surfaces.spine.channels import Channels
from ingest_gateway.surfaces.spine.errors import render
from ingest_gateway.surfaces.spine.live_stream import CHANNELS
from ingest_gateway.surfaces.spine.publishing import SYSTEM_STREAM
from ingest_gateway.surfaces.spine.rates import add_rate_headers
from ingest_gateway.surfaces.surface import Surface
from operations.record_reader import StoredRecord
from schemas.log_records import RecordPosition

ROUTES = (
    *live_stream.ROUTES,
    *publish.ROUTES,
    *query.ROUTES,
    *subscriptions.ROUTES,
    *correlations.ROUTES,
    *event_types.ROUTES,
)


def make_app(services: Services) -> web.Application:
    """Served by `http.server.serve` with `errors.render`. Raises ContractBroken."""
    app = web.Application()
    app[SERVICES] = services
    timeout_seconds = services.settings.verdict_timeout_seconds
    app[SYSTEM_STREAM] = SystemStreams(STREAM, services.control, services.commands, timeout_seconds=timeout_seconds)
    app[PUBLISHER] = event_publisher(services)
    _add_live_streams(app, services)
    document = load_document("spine")
    app.on_response_prepare.append(add_position)
    app.on_response_prepare.append(add_incomplete)
    app.on_response_prepare.append(add_rate_headers(document))
    app.add_routes(hold_to(document, ROUTES))
    add_documents(app, document, "atlas-spine-api")
    return app


def _add_live_streams(app: web.Application, services: Services) -> None:
    """Live readers end when the process is asked to stop, before it waits for requests under way."""

    async def read_back(position: RecordPosition) -> StoredRecord | None:
        timeout_seconds = services.settings.read_timeout_seconds
        return (await services.events.read_many([position], timeout_seconds))[position]

    channels = app[CHANNELS] = Channels(services.live, read_back)

    async def stop_readers(_app: web.Application) -> None:
        await channels.close()

    app.on_shutdown.append(stop_readers)


SPINE = Surface("spine", make_app, render, SPINE_KINDS)
