"""`/v1/webhook-endpoints`: the endpoints that get outcome webhooks. A signing secret is only in the answer that made
it.
"""

from aiohttp import web

from domain.delivery.signatures import signing_secret
from domain.delivery.webhooks import TEST
from domain.security.principals import WORKFLOWS_READ, WORKFLOWS_WRITE, Principal
from ingest_gateway.http.bodies import read_body
from ingest_gateway.http.queries import read_query
from ingest_gateway.services import Services
from ingest_gateway.surfaces.events.entity_views import list_view
from ingest_gateway.surfaces.events.webhook_forms import read_new_endpoint, read_secret_rotation
from ingest_gateway.surfaces.events.webhook_views import endpoint_view
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.commands import BODY_BYTES_MAX, decide, json_body
from ingest_gateway.surfaces.shared.errors import ENDPOINT_NOT_FOUND
from ingest_gateway.surfaces.shared.reach import seen, sees
from ingest_gateway.surfaces.shared.requests import caller, look_twice, read_control_on
from schemas.commands.answers import decode_state
from schemas.commands.webhooks import DeleteWebhookEndpoint, TryWebhookEndpoint, WebhookTrial
from schemas.commands.workflows import ReactivateWorkflow
from schemas.entities import WebhookEndpoint
from schemas.ids import WEBHOOK_ENDPOINT, is_id
from schemas.records import Verdict

PATH = "/v1/webhook-endpoints"


async def create_endpoint(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_WRITE)
    allow_private = services.settings.allow_private_targets
    payload = read_new_endpoint(await json_body(request), allow_private=allow_private)
    return _shown_once(services, await decide(request, services, principal, payload))


async def list_endpoints(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_READ)
    read_query(request, ())
    await read_control_on(services)
    mine = services.control.view.endpoints_of(principal.workspace, principal.environment)
    return json_response(list_view(map(endpoint_view, seen(services.control.view, principal, mine))))


async def get_endpoint(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_READ)
    return json_response(endpoint_view(await _endpoint(request, services, principal)))


async def delete_endpoint(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_WRITE)
    await decide(request, services, principal, DeleteWebhookEndpoint(id=_endpoint_id(request)))
    return web.Response(status=204)


async def reactivate_endpoint(request: web.Request) -> web.Response:
    """Webhooks that waited are sent now."""
    services, principal = caller(request, WORKFLOWS_WRITE)
    endpoint = await _endpoint(request, services, principal)
    verdict = await decide(request, services, principal, ReactivateWorkflow(id=endpoint.id))
    return json_response(endpoint_view(decode_state(verdict.body, WebhookEndpoint)), verdict.status)


async def rotate_endpoint_secret(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_WRITE)
    body = await json_body(request) if request.body_exists else await read_body(request, BODY_BYTES_MAX)
    payload = read_secret_rotation(request.match_info["endpoint"], body)
    await _endpoint(request, services, principal)
    return _shown_once(services, await decide(request, services, principal, payload))


async def try_endpoint(request: web.Request) -> web.Response:
    """It gets a `webhook.test`, signed and retried like any other."""
    services, principal = caller(request, WORKFLOWS_WRITE)
    verdict = await decide(request, services, principal, TryWebhookEndpoint(id=_endpoint_id(request)))
    trial: WebhookTrial = decode_state(verdict.body, WebhookTrial)
    return json_response({"id": trial.id, "object": "webhook", "type": TEST}, verdict.status)


def _endpoint_id(request: web.Request) -> str:
    """A text without the form of an id is refused here and never logged: it may be a secret that was pasted."""
    endpoint_id = request.match_info["endpoint"]
    if not is_id(endpoint_id, WEBHOOK_ENDPOINT):
        raise ENDPOINT_NOT_FOUND.refused()
    return endpoint_id


async def _endpoint(request: web.Request, services: Services, principal: Principal) -> WebhookEndpoint:
    wanted = principal.workspace, principal.environment, request.match_info["endpoint"]
    endpoint = await look_twice(services, lambda: services.control.view.endpoint(*wanted))
    if endpoint is None or not sees(services.control.view, principal, endpoint):
        raise ENDPOINT_NOT_FOUND.refused()
    return endpoint


def _shown_once(services: Services, verdict: Verdict) -> web.Response:
    endpoint: WebhookEndpoint = decode_state(verdict.body, WebhookEndpoint)
    secret = signing_secret(services.settings.master_key, endpoint.entity_id, endpoint.secret_version)
    response = json_response(endpoint_view(endpoint, secret), verdict.status)
    response.headers["Cache-Control"] = "no-store"
    return response


ROUTES = (
    web.post(PATH, create_endpoint, name="create_webhook_endpoint"),
    web.get(PATH, list_endpoints, name="list_webhook_endpoints"),
    web.get(PATH + "/{endpoint}", get_endpoint, name="get_webhook_endpoint"),
    web.delete(PATH + "/{endpoint}", delete_endpoint, name="delete_webhook_endpoint"),
    web.post(PATH + "/{endpoint}/reactivate", reactivate_endpoint, name="reactivate_webhook_endpoint"),
    web.post(PATH + "/{endpoint}/rotate-secret", rotate_endpoint_secret, name="rotate_webhook_endpoint_secret"),
    web.post(PATH + "/{endpoint}/test", try_endpoint, name="test_webhook_endpoint"),
)
