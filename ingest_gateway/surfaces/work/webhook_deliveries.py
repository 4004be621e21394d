"""`/v1/webhooks/{webhook}/deliveries`: what a webhook was sent and what came of it, and sending it once more.

A delivery is listed once its first attempt has ended. A replay sends the same event again as a delivery of its own,
even where the one before succeeded; the replay of a test sends another test.
"""

import asyncio
import time
from typing import Any

from aiohttp import web
from sqlalchemy import Row

from domain.delivery.webhooks import DeliveryKind
from domain.security.principals import WEBHOOKS_READ, WEBHOOKS_WRITE
from ingest_gateway.http.bodies import read_body
from ingest_gateway.http.queries import read_query, whole_number
from ingest_gateway.read_model.webhook_pages import WebhookScope, source_in
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.requests import caller
from ingest_gateway.surfaces.work.commands import BODY_BYTES_MAX, decided
from ingest_gateway.surfaces.work.errors import DELIVERY_NOT_FOUND, DELIVERY_NOT_REPLAYABLE, invalid
from ingest_gateway.surfaces.work.reads import LIMIT_DEFAULT, LIMIT_MAX, Pages, asked
from ingest_gateway.surfaces.work.webhook_views import STATUSES, delivery_view
from ingest_gateway.surfaces.work.webhooks import PATH, found_webhook
from operations import clock
from schemas.commands.work import ReplayWebhook, TryWebhook
from schemas.errors import FieldError
from schemas.ids import DELIVERY, is_id, time_of

DELIVERIES = PATH + "/{webhook}/deliveries"
YOUNG_MS = 10_000
LOOK_AGAIN_SECONDS = 0.05


async def list_deliveries(request: web.Request) -> web.Response:
    services, principal = caller(request, WEBHOOKS_READ)
    parameters = read_query(request, ("status", "limit", "cursor"))
    limit = whole_number(parameters, "limit", minimum=1, maximum=LIMIT_MAX, default=LIMIT_DEFAULT)
    statuses = _statuses(parameters.get("status"))
    webhook = await found_webhook(request, services, principal)
    scope = WebhookScope(webhook.workspace, webhook.environment, webhook.id)
    pages = Pages(services, ("deliveries", *scope, statuses))
    before = pages.offset_text(parameters.get("cursor"))
    page = await asked(services.reads.deliveries_page(scope, statuses, before, limit))
    return pages.answer([delivery_view(row) for row in page.rows], page.following)


async def replay_delivery(request: web.Request) -> web.Response:
    services, principal = caller(request, WEBHOOKS_WRITE)
    await read_body(request, BODY_BYTES_MAX)  # there is nothing to say in it
    webhook = await found_webhook(request, services, principal)
    scope = WebhookScope(webhook.workspace, webhook.environment, webhook.id)
    row = await _delivery(services, scope, request.match_info["delivery"])
    payload: TryWebhook | ReplayWebhook = TryWebhook(id=webhook.id)
    if row.kind != DeliveryKind.WEBHOOK:
        source = source_in(row)
        if source is None:
            raise DELIVERY_NOT_REPLAYABLE.refused()
        payload = ReplayWebhook(id=webhook.id, event_id=row.event_id, source=source)
    verdict = await decided(request, services, principal, payload)
    return web.Response(body=verdict.body, status=verdict.status, content_type="application/json")


async def _delivery(services: Services, scope: WebhookScope, delivery_id: str) -> Row[Any]:
    """One that was given out a moment ago may be on its way here. Raises Refused."""
    if not is_id(delivery_id, DELIVERY):
        raise DELIVERY_NOT_FOUND.refused()
    deadline = time.monotonic() + services.settings.read_timeout_seconds
    while True:
        row = await asked(services.reads.delivery(scope, delivery_id))
        if row is not None:
            return row
        is_young = clock.now_ms() - time_of(delivery_id) < YOUNG_MS
        if not is_young or time.monotonic() > deadline:
            raise DELIVERY_NOT_FOUND.refused()
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _statuses(shown: str | None) -> tuple[str, ...]:
    found = tuple(status for status, name in STATUSES.items() if name == shown)
    if shown is not None and not found:
        raise invalid([FieldError("status", f"Must be one of {', '.join(STATUSES.values())}.")])
    return found


ROUTES = (
    web.get(DELIVERIES, list_deliveries, name="list_webhook_deliveries"),
    web.post(DELIVERIES + "/{delivery}/replay", replay_delivery, name="replay_webhook_delivery"),
)
