"""`/v1/event-streams`: make, list, show, change and delete streams. The control agent decides, the view answers."""

from aiohttp import web

from ingest_gateway.http.queries import read_query
from ingest_gateway.identity.principals import STREAMS_READ, STREAMS_WRITE, Principal
from ingest_gateway.services import Services
from ingest_gateway.surfaces.events.entity_commands import caller, decide, json_body, json_response
from ingest_gateway.surfaces.events.entity_forms import read_new_stream, read_stream_changes
from ingest_gateway.surfaces.events.entity_views import list_view, stream_view
from ingest_gateway.surfaces.events.faults import STREAM_NOT_FOUND
from schemas.commands import DeleteStream, decode_state
from schemas.entities import Stream


async def create_stream(request: web.Request) -> web.Response:
    services, principal = caller(request, STREAMS_WRITE)
    payload = read_new_stream(await json_body(request))
    verdict = await decide(request, services, principal, payload)
    return json_response(stream_view(decode_state(verdict.body, Stream)), verdict.status)


async def list_streams(request: web.Request) -> web.Response:
    services, principal = caller(request, STREAMS_READ)
    read_query(request, ())
    await services.control.catch_up()
    mine = services.control.view.streams_of(principal.workspace, principal.environment)
    return json_response(list_view(stream_view(stream) for stream in mine if principal.may_use_stream(stream.name)))


async def get_stream(request: web.Request) -> web.Response:
    services, principal = caller(request, STREAMS_READ)
    stream = await _stream(services, principal, request.match_info["stream"])
    return json_response(stream_view(stream))


async def update_stream(request: web.Request) -> web.Response:
    services, principal = caller(request, STREAMS_WRITE)
    payload = read_stream_changes(request.match_info["stream"], await json_body(request))
    verdict = await decide(request, services, principal, payload)
    return json_response(stream_view(decode_state(verdict.body, Stream)), verdict.status)


async def delete_stream(request: web.Request) -> web.Response:
    services, principal = caller(request, STREAMS_WRITE)
    await decide(request, services, principal, DeleteStream(stream=request.match_info["stream"]))
    return web.Response(status=204)


async def _stream(services: Services, principal: Principal, name_or_id: str) -> Stream:
    """By name or id. One that the view does not know may have been made a moment ago."""
    scope = principal.workspace, principal.environment
    stream = services.control.view.stream(*scope, name_or_id)
    if stream is None:
        await services.control.catch_up()
        stream = services.control.view.stream(*scope, name_or_id)
    if stream is None or not principal.may_use_stream(stream.name):
        raise STREAM_NOT_FOUND.refused()
    return stream


ROUTES = (
    web.post("/v1/event-streams", create_stream, name="create_stream"),
    web.get("/v1/event-streams", list_streams, name="list_streams"),
    web.get("/v1/event-streams/{stream}", get_stream, name="get_stream"),
    web.patch("/v1/event-streams/{stream}", update_stream, name="update_stream"),
    web.delete("/v1/event-streams/{stream}", delete_stream, name="delete_stream"),
)
