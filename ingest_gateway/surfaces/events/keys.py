"""`/v1/keys`: create, list, show, rotate and revoke the keys of the caller's workspace and environment (scope `admin`).

A secret is in the answer that created it, and in the answer to that request's repeat under its Idempotency-Key; never
again. The control agent decides whether a key may create, rotate or revoke another. Keys of other surfaces are not
listed here.
"""

from aiohttp import web

from domain.security.api_tokens import mint_token
from domain.security.principals import ADMIN, Principal
from ingest_gateway.http.bodies import read_body
from ingest_gateway.http.queries import read_query
from ingest_gateway.services import Services
from ingest_gateway.surfaces.events.entity_views import list_view
from ingest_gateway.surfaces.events.key_forms import KINDS, read_new_key, read_rotation
from ingest_gateway.surfaces.events.key_views import key_view
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.commands import BODY_BYTES_MAX, decide, json_body
from ingest_gateway.surfaces.shared.errors import KEY_NOT_FOUND
from ingest_gateway.surfaces.shared.reach import seen, sees
from ingest_gateway.surfaces.shared.requests import caller, look_twice, read_control_on
from operations import clock
from schemas.commands.answers import decode_state
from schemas.commands.keys import RevokeKey
from schemas.entities import Key
from schemas.records import Verdict

KINDS_HERE = frozenset(KINDS.values())


async def create_key(request: web.Request) -> web.Response:
    services, principal = caller(request, ADMIN)
    payload = read_new_key(await json_body(request), principal, clock.now_ms())
    return _shown_once(services, await decide(request, services, principal, payload))


async def list_keys(request: web.Request) -> web.Response:
    services, principal = caller(request, ADMIN)
    read_query(request, ())
    await read_control_on(services)
    mine = services.control.view.keys_of(principal.workspace, principal.environment)
    shown = seen(services.control.view, principal, (key for key in mine if key.key_kind in KINDS_HERE))
    return json_response(list_view(key_view(key, clock.now_ms()) for key in shown))


async def get_key(request: web.Request) -> web.Response:
    services, principal = caller(request, ADMIN)
    return json_response(key_view(await _key(request, services, principal), clock.now_ms()))


async def rotate_key(request: web.Request) -> web.Response:
    services, principal = caller(request, ADMIN)
    body = await json_body(request) if request.body_exists else await read_body(request, BODY_BYTES_MAX)
    payload = read_rotation(request.match_info["key"], body)
    await _key(request, services, principal)
    return _shown_once(services, await decide(request, services, principal, payload))


async def revoke_key(request: web.Request) -> web.Response:
    services, principal = caller(request, ADMIN)
    key = await _key(request, services, principal)
    await decide(request, services, principal, RevokeKey(id=key.id))
    return web.Response(status=204)


async def _key(request: web.Request, services: Services, principal: Principal) -> Key:
    wanted = principal.workspace, principal.environment, request.match_info["key"]
    key = await look_twice(services, lambda: services.control.view.key(*wanted))
    if key is None or key.key_kind not in KINDS_HERE or not sees(services.control.view, principal, key):
        raise KEY_NOT_FOUND.refused()
    return key


def _shown_once(services: Services, verdict: Verdict) -> web.Response:
    key: Key = decode_state(verdict.body, Key)
    secret = mint_token(services.settings.master_key, key.key_kind, key.environment, key.id)
    response = json_response(key_view(key, clock.now_ms(), secret), verdict.status)
    response.headers["Cache-Control"] = "no-store"
    return response


ROUTES = (
    web.post("/v1/keys", create_key, name="create_key"),
    web.get("/v1/keys", list_keys, name="list_keys"),
    web.get("/v1/keys/{key}", get_key, name="get_key"),
    web.post("/v1/keys/{key}/rotate", rotate_key, name="rotate_key"),
    web.delete("/v1/keys/{key}", revoke_key, name="revoke_key"),
)
