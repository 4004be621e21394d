"""`/v1/tokens`: mint, list, show, rotate and revoke personal access tokens. Only for sessions.

A token is in the answer that made it, and in the answer to that request's repeat under its Idempotency-Key; never
again. Rows of docs/requirements.md: W-010 to W-016.
"""

from aiohttp import web

from domain.security.api_tokens import mint_token
from domain.security.principals import TOKENS_READ, TOKENS_WRITE, Principal
from ingest_gateway.http.bodies import read_body
from ingest_gateway.http.queries import read_query, whole_number
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.requests import caller, look_twice, read_control_on
from ingest_gateway.surfaces.work.commands import BODY_BYTES_MAX, decided, json_body
from ingest_gateway.surfaces.work.errors import TOKEN_NOT_FOUND
from ingest_gateway.surfaces.work.reads import LIMIT_DEFAULT, LIMIT_MAX, Pages
from ingest_gateway.surfaces.work.token_forms import read_new_token, read_rotation
from ingest_gateway.surfaces.work.token_views import token_view
from operations import clock
from schemas.commands.answers import decode_state
from schemas.commands.keys import RevokeKey
from schemas.entities import Key, KeyKind
from schemas.records import Verdict

PATH = "/v1/tokens"


async def create_token(request: web.Request) -> web.Response:
    services, principal = caller(request, TOKENS_WRITE)
    payload = read_new_token(await json_body(request), principal.environment, clock.now_ms())
    return await _shown_once(services, await decided(request, services, principal, payload))


async def list_tokens(request: web.Request) -> web.Response:
    """Oldest first, revoked ones too."""
    services, principal = caller(request, TOKENS_READ)
    parameters = read_query(request, ("limit", "cursor"))
    limit = whole_number(parameters, "limit", minimum=1, maximum=LIMIT_MAX, default=LIMIT_DEFAULT)
    scope = principal.workspace, principal.environment
    pages = Pages(services, ("tokens", *scope))
    start = pages.offset(parameters.get("cursor"))
    await read_control_on(services)
    mine = [key for key in services.control.view.keys_of(*scope) if key.key_kind is KeyKind.ACCESS_TOKEN]
    following = start + limit if len(mine) > start + limit else None
    return pages.answer([token_view(key, clock.now_ms()) for key in mine[start : start + limit]], following)


async def get_token(request: web.Request) -> web.Response:
    services, principal = caller(request, TOKENS_READ)
    read_query(request, ())
    return json_response(token_view(await _token(request, services, principal), clock.now_ms()))


async def rotate_token(request: web.Request) -> web.Response:
    """A new token like it; the old one stays valid for a while."""
    services, principal = caller(request, TOKENS_WRITE)
    body = await json_body(request) if request.body_exists else await read_body(request, BODY_BYTES_MAX)
    payload = read_rotation(request.match_info["token"], body)
    await _token(request, services, principal)
    return await _shown_once(services, await decided(request, services, principal, payload))


async def revoke_token(request: web.Request) -> web.Response:
    services, principal = caller(request, TOKENS_WRITE)
    key = await _token(request, services, principal)
    await decided(request, services, principal, RevokeKey(id=key.id))
    await services.control.catch_up()
    return web.Response(status=204)


async def _token(request: web.Request, services: Services, principal: Principal) -> Key:
    wanted = principal.workspace, principal.environment, request.match_info["token"]
    key = await look_twice(services, lambda: services.control.view.key(*wanted))
    if key is None or key.key_kind is not KeyKind.ACCESS_TOKEN:
        raise TOKEN_NOT_FOUND.refused()
    return key


async def _shown_once(services: Services, verdict: Verdict) -> web.Response:
    """Whoever gets a token may use it here at once. What is shown is what was minted, however often it is asked for."""
    await services.control.catch_up()
    key: Key = decode_state(verdict.body, Key)
    token = mint_token(services.settings.master_key, key.key_kind, key.environment, key.id)
    response = json_response(token_view(key, key.created_ms, token), verdict.status)
    response.headers["Cache-Control"] = "no-store"
    return response


ROUTES = (
    web.post(PATH, create_token, name="create_token"),
    web.get(PATH, list_tokens, name="list_tokens"),
    web.get(PATH + "/{token}", get_token, name="get_token"),
    web.post(PATH + "/{token}/rotate", rotate_token, name="rotate_token"),
    web.delete(PATH + "/{token}", revoke_token, name="revoke_token"),
)
