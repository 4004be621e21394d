"""`/v1/event-streams`: create, list, show, change and delete streams. The control agent decides, the view answers."""

from aiohttp import web

from domain.security.principals import STREAMS_READ, STREAMS_WRITE, Principal
from ingest_gateway.http.queries import read_query
from ingest_gateway.services import Services
from ingest_gateway.surfaces.events.entity_forms import read_new_stream, read_stream_changes
from ingest_gateway.surfaces.events.entity_views import list_view, stream_view
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.commands import decide, json_body
from ingest_gateway.surfaces.shared.errors import STREAM_NOT_FOUND
from ingest_gateway.surfaces.shared.requests import caller, look_twice, read_control_on
from schemas.commands.answers import decode_state
from schemas.commands.streams import DeleteStream
from schemas.entities import Stream
from schemas.ids import STREAM, is_id
from schemas.topics import STREAM_NAME, SYSTEM_STREAMS


async def create_stream(request: web.Request) -> web.Response:
    services, principal = caller(request, STREAMS_WRITE)
    payload = read_new_stream(await json_body(request))
    verdict = await decide(request, services, principal, payload)
    return json_response(stream_view(decode_state(verdict.body, Stream)), verdict.status)


async def list_streams(request: web.Request) -> web.Response:
    services, principal = caller(request, STREAMS_READ)
    read_query(request, ())
    await read_control_on(services)
    mine = services.control.view.streams_of(principal.workspace, principal.environment)
    return json_response(list_view(stream_view(stream) for stream in mine if _is_shown(principal, stream)))


async def get_stream(request: web.Request) -> web.Response:
    services, principal = caller(request, STREAMS_READ)
    stream = await _stream(services, principal, request.match_info["stream"])
    return json_response(stream_view(stream))


async def update_stream(request: web.Request) -> web.Response:
    services, principal = caller(request, STREAMS_WRITE)
    payload = read_stream_changes(_name_or_id(request), await json_body(request))
    verdict = await decide(request, services, principal, payload)
    return json_response(stream_view(decode_state(verdict.body, Stream)), verdict.status)


async def delete_stream(request: web.Request) -> web.Response:
    services, principal = caller(request, STREAMS_WRITE)
    payload = DeleteStream(stream=_name_or_id(request))
    await decide(request, services, principal, payload)
    return web.Response(status=204)


def _name_or_id(request: web.Request) -> str:
    """A text with the form of neither is refused here and never logged: it may be a secret that was pasted."""
    written = request.match_info["stream"]
    if STREAM_NAME.fullmatch(written) is None and not is_id(written, STREAM):
        raise STREAM_NOT_FOUND.refused()
    return written


async def _stream(services: Services, principal: Principal, name_or_id: str) -> Stream:
    """By name or id."""
    scope = principal.workspace, principal.environment
    stream = await look_twice(services, lambda: services.control.view.stream(*scope, name_or_id))
    if stream is None or not _is_shown(principal, stream):
        raise STREAM_NOT_FOUND.refused()
    return stream


def _is_shown(principal: Principal, stream: Stream) -> bool:
    """System streams are never shown here."""
    return stream.name not in SYSTEM_STREAMS and principal.may_use_stream(stream.name)


ROUTES = (
    web.post("/v1/event-streams", create_stream, name="create_stream"),
    web.get("/v1/event-streams", list_streams, name="list_streams"),
    web.get("/v1/event-streams/{stream}", get_stream, name="get_stream"),
    web.patch("/v1/event-streams/{stream}", update_stream, name="update_stream"),
    web.delete("/v1/event-streams/{stream}", delete_stream, name="delete_stream"),
)
