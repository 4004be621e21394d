"""`/v1/webhooks`: create, list, show, change, try and delete webhooks, and rotate their secrets.

A secret is in the answer that made it, and in the answer to that request's repeat under its Idempotency-Key; never
again. Their deliveries: webhook_deliveries.py.
"""

from aiohttp import web

from domain.delivery.signatures import signing_secret
from domain.security.principals import WEBHOOKS_READ, WEBHOOKS_WRITE, Principal
from ingest_gateway.http.bodies import read_body
from ingest_gateway.http.queries import read_query, whole_number
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.requests import caller, look_twice, read_control_on
from ingest_gateway.surfaces.work.commands import BODY_BYTES_MAX, decided, json_body
from ingest_gateway.surfaces.work.errors import WEBHOOK_NOT_FOUND
from ingest_gateway.surfaces.work.reads import LIMIT_DEFAULT, LIMIT_MAX, Pages
from ingest_gateway.surfaces.work.webhook_forms import read_new_webhook, read_secret_rotation, read_webhook_changes
from ingest_gateway.surfaces.work.webhook_views import webhook_view
from schemas.commands.answers import decode_state
from schemas.commands.subscriptions import DeleteSubscription
from schemas.commands.work import TryWebhook
from schemas.commands.workflows import ReactivateWorkflow
from schemas.entities import Subscription, SubscriptionSurface
from schemas.records import Verdict

PATH = "/v1/webhooks"


async def create_webhook(request: web.Request) -> web.Response:
    services, principal = caller(request, WEBHOOKS_WRITE)
    payload = read_new_webhook(await json_body(request), allow_private=services.settings.allow_private_targets)
    return await _shown_once(services, await decided(request, services, principal, payload))


async def list_webhooks(request: web.Request) -> web.Response:
    services, principal = caller(request, WEBHOOKS_READ)
    parameters = read_query(request, ("limit", "cursor"))
    limit = whole_number(parameters, "limit", minimum=1, maximum=LIMIT_MAX, default=LIMIT_DEFAULT)
    scope = principal.workspace, principal.environment
    pages = Pages(services, ("webhooks", *scope))
    start = pages.offset(parameters.get("cursor"))
    await read_control_on(services)
    mine = services.control.view.subscriptions_of(*scope, SubscriptionSurface.WORK)
    following = start + limit if len(mine) > start + limit else None
    return pages.answer([webhook_view(webhook) for webhook in mine[start : start + limit]], following)


async def get_webhook(request: web.Request) -> web.Response:
    services, principal = caller(request, WEBHOOKS_READ)
    read_query(request, ())
    return json_response(webhook_view(await found_webhook(request, services, principal)))


async def update_webhook(request: web.Request) -> web.Response:
    services, principal = caller(request, WEBHOOKS_WRITE)
    webhook = await found_webhook(request, services, principal)
    allow_private = services.settings.allow_private_targets
    payload = read_webhook_changes(webhook.id, await json_body(request), allow_private=allow_private)
    return await _shown(services, await decided(request, services, principal, payload))


async def reactivate_webhook(request: web.Request) -> web.Response:
    """After a 410: what waited is sent now."""
    services, principal = caller(request, WEBHOOKS_WRITE)
    webhook = await found_webhook(request, services, principal)
    return await _shown(services, await decided(request, services, principal, ReactivateWorkflow(id=webhook.id)))


async def rotate_webhook_secret(request: web.Request) -> web.Response:
    services, principal = caller(request, WEBHOOKS_WRITE)
    body = await json_body(request) if request.body_exists else await read_body(request, BODY_BYTES_MAX)
    webhook = await found_webhook(request, services, principal)
    payload = read_secret_rotation(webhook.id, body)
    return await _shown_once(services, await decided(request, services, principal, payload))


async def try_webhook(request: web.Request) -> web.Response:
    """It gets a `webhook.test`, signed and retried like any other."""
    services, principal = caller(request, WEBHOOKS_WRITE)
    webhook = await found_webhook(request, services, principal)
    verdict = await decided(request, services, principal, TryWebhook(id=webhook.id))
    return web.Response(body=verdict.body, status=verdict.status, content_type="application/json")


async def delete_webhook(request: web.Request) -> web.Response:
    services, principal = caller(request, WEBHOOKS_WRITE)
    webhook = await found_webhook(request, services, principal)
    await decided(request, services, principal, DeleteSubscription(id=webhook.id))
    await services.control.catch_up()
    return web.Response(status=204)


async def found_webhook(request: web.Request, services: Services, principal: Principal) -> Subscription:
    """Raises Refused (404)."""
    wanted = principal.workspace, principal.environment, request.match_info["webhook"]
    webhook = await look_twice(services, lambda: services.control.view.subscription(*wanted))
    if webhook is None or webhook.surface is not SubscriptionSurface.WORK:
        raise WEBHOOK_NOT_FOUND.refused()
    return webhook


async def _shown(services: Services, verdict: Verdict) -> web.Response:
    await services.control.catch_up()
    return json_response(webhook_view(decode_state(verdict.body, Subscription)), verdict.status)


async def _shown_once(services: Services, verdict: Verdict) -> web.Response:
    await services.control.catch_up()
    webhook: Subscription = decode_state(verdict.body, Subscription)
    secret = signing_secret(services.settings.master_key, webhook.entity_id, webhook.secret_version)
    response = json_response(webhook_view(webhook, secret), verdict.status)
    response.headers["Cache-Control"] = "no-store"
    return response


ROUTES = (
    web.post(PATH, create_webhook, name="create_webhook"),
    web.get(PATH, list_webhooks, name="list_webhooks"),
    web.get(PATH + "/{webhook}", get_webhook, name="get_webhook"),
    web.patch(PATH + "/{webhook}", update_webhook, name="update_webhook"),
    web.delete(PATH + "/{webhook}", delete_webhook, name="delete_webhook"),
    web.post(PATH + "/{webhook}/reactivate", reactivate_webhook, name="reactivate_webhook"),
    web.post(PATH + "/{webhook}/rotate-secret", rotate_webhook_secret, name="rotate_webhook_secret"),
    web.post(PATH + "/{webhook}/test", try_webhook, name="test_webhook"),
)
