"""The work surface as an aiohttp application: its routes, held to schemas/openapi/work.yaml."""

from aiohttp import web

from domain.security.principals import WORK_KINDS
from ingest_gateway.log.system_streams import SystemStreams
from ingest_gateway.services import SERVICES, Services
from ingest_gateway.surfaces.documents.routes import add_documents
from ingest_gateway.surfaces.shared.contract import hold_to, load_document
from ingest_gateway.surfaces.shared.positions import add_position
from ingest_gateway.surfaces.surface import Surface
from ingest_gateway.surfaces.work import activity, projects, tasks, tokens, webhook_deliveries, webhooks
from ingest_gateway.surfaces.work.ai import routes as ai
from ingest_gateway.surfaces.work.commands import STREAM
from ingest_gateway.surfaces.work.errors import render
from ingest_gateway.surfaces.work.reads import WRITES, Writes
from schemas.work import STREAM as STREAM_NAME

ROUTES = (
    *(*projects.ROUTES, *tasks.ROUTES, *tokens.ROUTES, *activity.ROUTES),
    *(*webhooks.ROUTES, *webhook_deliveries.ROUTES, *ai.ROUTES),
)


def make_app(services: Services) -> web.Application:
    """Served by `http.server.serve` with `errors.render`. Raises ContractBroken."""
    app = web.Application()
    app[SERVICES] = services
    app[WRITES] = Writes()
    timeout_seconds = services.settings.verdict_timeout_seconds
    app[STREAM] = SystemStreams(STREAM_NAME, services.control, services.commands, timeout_seconds=timeout_seconds)
    app.on_response_prepare.append(add_position)
    document = load_document("work")
    app.add_routes(hold_to(document, ROUTES))
    app.cleanup_ctx.append(ai.model_running)
    switches = {"aiEnabled": "" if services.settings.llm is None else "true"}
    add_documents(app, document, "atlas-public-api", switches)
    return app


WORK = Surface("work", make_app, render, WORK_KINDS)
