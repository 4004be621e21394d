"""`GET /v1/events/{event_id}`: what became of an event, from the read model. A read follows the writes before it.

An id that the read model doesn't have may be on its way there: the answer waits until projection has passed all that
was on the key's streams when the request arrived, and only then says that there is no such event.
"""

from aiohttp import web

from domain.events.direct_records import data_of_admitted
from domain.security.principals import EVENTS_READ, Principal
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.http.queries import read_query
from ingest_gateway.log.event_log import LogUnavailable
from ingest_gateway.read_model import ReadModelUnavailable, StoredEvent
from ingest_gateway.read_model.views import event_view
from ingest_gateway.services import Services
from ingest_gateway.surfaces.events.errors import DUPLICATE_EVENT, EVENT_NOT_FOUND
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.errors import READ_MODEL_BEHIND
from ingest_gateway.surfaces.shared.reads import look_until_sure, wait_for_named
from ingest_gateway.surfaces.shared.requests import caller
from schemas.entities import Stream
from schemas.errors import FieldError
from schemas.ids import EVENT as EVENT_PREFIX
from schemas.ids import is_id
from schemas.topics import SYSTEM_STREAMS

EXPANSIONS = ("attempts", "data")


async def get_event(request: web.Request) -> web.Response:
    """`?expand=data,attempts`: the payload from the log (null once retention took it), and every attempt made."""
    services, principal = caller(request, EVENTS_READ)
    expand = _expansions(request)
    event_id = request.match_info["event_id"]
    if not is_id(event_id, EVENT_PREFIX):
        raise EVENT_NOT_FOUND.refused()
    await wait_for_named(request, services, principal)
    stored = await find_event(services, principal, event_id)
    data = await _payload(services, stored) if "data" in expand else None
    disabled = _disabled_routes(services, principal, stored)
    return json_response(event_view(stored, every_attempt="attempts" in expand, data=data, disabled=disabled))


def _disabled_routes(services: Services, principal: Principal, stored: StoredEvent) -> dict[str, str]:
    """By id, with their names."""
    view = services.control.view
    found = [view.workflow(principal.workspace, principal.environment, route) for route in stored.routes()]
    return {one.id: one.name for one in found if one is not None and one.disabled_ms is not None}


async def find_event(services: Services, principal: Principal, event_id: str) -> StoredEvent:
    try:
        stored = await look_until_sure(
            services, lambda: streams_shown(services, principal), lambda: _look(services, principal, event_id)
        )
    except ReadModelUnavailable:
        raise READ_MODEL_BEHIND.refused() from None
    if stored is None or not is_shown(principal, stored.event.stream):
        raise EVENT_NOT_FOUND.refused()
    return stored


def streams_shown(services: Services, principal: Principal) -> list[Stream]:
    """Those that hold the events which this surface shows to the key."""
    mine = services.control.view.streams_of(principal.workspace, principal.environment)
    return [stream for stream in mine if is_shown(principal, stream.name)]


def is_shown(principal: Principal, stream: str) -> bool:
    """Events of other surfaces are looked up there."""
    return stream not in SYSTEM_STREAMS and principal.may_use_stream(stream)


async def _look(services: Services, principal: Principal, event_id: str) -> StoredEvent | None:
    """Raises Refused (duplicate_event) for an id that was given out before its verdict, which then was a conflict."""
    stored = await services.reads.event(principal.workspace, principal.environment, event_id)
    if stored is not None:
        return stored
    original_id = await services.reads.conflict_of(principal.workspace, principal.environment, event_id)
    if original_id is not None:
        if principal.is_limited and not await _sees(services, principal, original_id):
            return None
        raise DUPLICATE_EVENT.refused(details={"original_event_id": original_id})
    return None


async def _sees(services: Services, principal: Principal, event_id: str) -> bool:
    """A key that can't see the other event does not learn that there is one."""
    stored = await services.reads.event(principal.workspace, principal.environment, event_id)
    return stored is not None and is_shown(principal, stored.event.stream)


async def _payload(services: Services, stored: StoredEvent) -> bytes:
    """The bytes of `data` as they were sent; `null` where the stream no longer keeps them."""
    row = stored.event
    position = row.source_topic, row.source_partition, row.source_offset
    try:
        found = await services.events.read(position, services.settings.read_timeout_seconds)
    except LogUnavailable:
        raise READ_MODEL_BEHIND.refused("The payload can't be read now. Please ask again.") from None
    return b"null" if found is None else data_of_admitted(found.value, found.headers)


def _expansions(request: web.Request) -> frozenset[str]:
    asked = read_query(request, ("expand",)).get("expand", "")
    expand = frozenset(asked.split(",")) if asked else frozenset()
    if not expand <= frozenset(EXPANSIONS):
        error = FieldError("expand", f"Must be one or both of {' and '.join(EXPANSIONS)}, with a comma between.")
        raise Refused(ErrorKind.INVALID_FIELDS, fields=[error])
    return expand


ROUTES = (web.get("/v1/events/{event_id}", get_event, name="get_event"),)
