"""Replays: one event (`POST /v1/events/{event_id}/replay`) or many (`/v1/replays`), delivered once more.

The control agent decides and counts; processors/lifecycle sends. A replay of one event is forgotten when it is done:
its attempts are shown on the event.
"""

import msgspec
from aiohttp import web

from domain.security.principals import WORKFLOWS_READ, WORKFLOWS_WRITE, Principal
from ingest_gateway.http.bodies import read_body
from ingest_gateway.services import Services
from ingest_gateway.surfaces.events.errors import EVENT_NOT_FOUND
from ingest_gateway.surfaces.events.lookups import find_event
from ingest_gateway.surfaces.events.webhook_forms import read_event_replay, read_replay
from ingest_gateway.surfaces.events.webhook_views import replay_view
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.commands import BODY_BYTES_MAX, decide, json_body
from ingest_gateway.surfaces.shared.errors import REPLAY_NOT_FOUND, STREAM_NOT_FOUND
from ingest_gateway.surfaces.shared.reach import sees
from ingest_gateway.surfaces.shared.reads import wait_for_writes
from ingest_gateway.surfaces.shared.requests import caller, read_control_on
from operations import clock
from schemas.commands.answers import decode_state
from schemas.commands.replays import CancelReplay
from schemas.entities import Replay
from schemas.ids import EVENT as EVENT_PREFIX
from schemas.ids import is_id


async def replay_event(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_WRITE)
    event_id = request.match_info["event_id"]
    body = await json_body(request) if request.body_exists else await read_body(request, BODY_BYTES_MAX)
    payload = read_event_replay(event_id, body)
    if not is_id(event_id, EVENT_PREFIX):
        raise EVENT_NOT_FOUND.refused()
    stored = await find_event(services, principal, event_id)
    payload = msgspec.structs.replace(payload, stream=stored.event.stream)
    verdict = await decide(request, services, principal, payload)
    return json_response(replay_view(decode_state(verdict.body, Replay)), verdict.status)


async def start_replay(request: web.Request) -> web.Response:
    """What was answered before is replayed too: the answer waits until projection has passed it. What is held back is
    delivered when it is admitted.
    """
    services, principal = caller(request, WORKFLOWS_WRITE)
    payload = read_replay(await json_body(request), clock.now_ms())
    if not await _reaches(services, principal, payload.stream):
        raise STREAM_NOT_FOUND.refused()
    await wait_for_writes(request, services, principal, lambda name: name == payload.stream)
    verdict = await decide(request, services, principal, payload)
    return json_response(replay_view(decode_state(verdict.body, Replay)), verdict.status)


async def get_replay(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_READ)
    return json_response(replay_view(await _replay(request, services, principal)))


async def cancel_replay(request: web.Request) -> web.Response:
    """What was sent stays sent."""
    services, principal = caller(request, WORKFLOWS_WRITE)
    replay = await _replay(request, services, principal)
    verdict = await decide(request, services, principal, CancelReplay(id=replay.id))
    return json_response(replay_view(decode_state(verdict.body, Replay)), verdict.status)


async def _reaches(services: Services, principal: Principal, name: str) -> bool:
    view = services.control.view
    if view.stream(principal.workspace, principal.environment, name) is None:
        await read_control_on(services)
    stream = view.stream(principal.workspace, principal.environment, name)
    return stream is not None and principal.may_use_stream(stream.name)


async def _replay(request: web.Request, services: Services, principal: Principal) -> Replay:
    """How far it is as of now. One of a stream that the key is not for is not shown."""
    await read_control_on(services)
    replay = services.control.view.replay(principal.workspace, principal.environment, request.match_info["replay"])
    if replay is None or not sees(services.control.view, principal, replay):
        raise REPLAY_NOT_FOUND.refused()
    return replay


ROUTES = (
    web.post("/v1/events/{event_id}/replay", replay_event, name="replay_event"),
    web.post("/v1/replays", start_replay, name="start_replay"),
    web.get("/v1/replays/{replay}", get_replay, name="get_replay"),
    web.delete("/v1/replays/{replay}", cancel_replay, name="cancel_replay"),
)
