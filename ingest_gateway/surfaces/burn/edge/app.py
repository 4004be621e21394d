"""Adds the edge proxy to the burn surface: one wildcard route for each provider, the HTTP clients and the spool."""

import functools
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from ingest_gateway import metrics
from ingest_gateway.identity.credentials import Presentation
from ingest_gateway.log.telemetry import TelemetryClient
from ingest_gateway.services import Services
from ingest_gateway.surfaces.burn.edge.budget import StrictBudgets
from ingest_gateway.surfaces.burn.edge.providers import Provider, providers_of
from ingest_gateway.surfaces.burn.edge.proxy import OUTCOMES, EdgeProxy
from ingest_gateway.surfaces.burn.edge.spool import Spool
from ingest_gateway.surfaces.burn.edge.telemetry import TelemetryOut
from ingest_gateway.surfaces.burn.edge.upstream import new_session
from operations.logs import event
from operations.settings import Settings

log = logging.getLogger("atlas.edge")
SPOOL = "edge-spool"
ROUTE_PREFIX = "edge."
_PROXY: web.AppKey[EdgeProxy] = web.AppKey("edge", EdgeProxy)


def add_edge(app: web.Application, services: Services, presentation: Presentation, telemetry: TelemetryClient) -> None:
    """Adds the proxy's routes. They are not in the OpenAPI document, as they are the providers' APIs, not ours."""
    providers = providers_of(services.settings.edge_providers)

    async def running(app: web.Application) -> AsyncIterator[None]:
        settings = services.settings
        session = new_session(settings.edge_timeout_seconds)
        out = TelemetryOut(
            services.events,
            services.control,
            _spool(settings),
            confirm_seconds=settings.append_timeout_seconds,
            adopt=functools.partial(Spool.adopt, settings.home / SPOOL, settings.edge_spool_bytes),
        )
        out.start()
        budgets = StrictBudgets(telemetry, settings.edge_timeout_seconds)
        app[_PROXY] = EdgeProxy(services, presentation, session, out, budgets)
        try:
            yield
        finally:
            await session.close()
            await out.close()

    for provider in providers.values():
        _show_from_the_start(provider)

        async def handle(request: web.Request, provider=provider) -> web.StreamResponse:  # type: ignore[no-untyped-def]
            return await request.app[_PROXY].handle(provider, request)

        app.router.add_route("*", f"/{provider.name}/{{path:.*}}", handle, name=ROUTE_PREFIX + provider.name)
    app.cleanup_ctx.append(running)


def _show_from_the_start(provider: Provider) -> None:
    """Counters start at 0, so that they are not absent before the first count."""
    for outcome in OUTCOMES:
        metrics.EDGE_CALLS.labels(provider.name, outcome)
    metrics.EDGE_FIRST_BYTE_SECONDS.labels(provider.name)


def is_edge(request: web.Request) -> bool:
    """Whether a request is a call to a provider."""
    return (request.match_info.route.name or "").startswith(ROUTE_PREFIX)


def _spool(settings: Settings) -> Spool | None:
    """None if the disk takes no spool; the proxy works without one."""
    root: Path = settings.home / SPOOL
    try:
        return Spool.create(root, settings.edge_spool_bytes)
    except OSError as error:
        event(log, "edge.no_spool", logging.ERROR, error=str(error))
        return None
