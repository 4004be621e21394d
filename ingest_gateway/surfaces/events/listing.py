"""`GET /v1/events`: events of the key's workspace and environment, filtered, by pages, complete while others arrive.

What a page promises is in read_model/event_pages.py; what a list waits for is in shared/reads.py.
"""

from aiohttp import web

from domain.events.status import EventStatus
from domain.security.principals import EVENTS_READ, Principal
from ingest_gateway.http.queries import read_query, whole_number
from ingest_gateway.read_model import ReadModelUnavailable
from ingest_gateway.read_model.cursors import CursorInvalid, Cursors
from ingest_gateway.read_model.event_pages import EventCursor, EventFilter, decode_cursor
from ingest_gateway.read_model.views import event_item
from ingest_gateway.services import Services
from ingest_gateway.surfaces.events.lookups import is_shown, streams_shown
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.errors import READ_MODEL_BEHIND, STREAM_NOT_FOUND
from ingest_gateway.surfaces.shared.parameters import (
    LIMIT_DEFAULT,
    LIMIT_MAX,
    Names,
    invalid,
    metadata_filters,
    time_range,
)
from ingest_gateway.surfaces.shared.reads import look_until_sure, wait_for_writes
from ingest_gateway.surfaces.shared.requests import caller, look_twice
from operations import clock
from schemas.errors import FieldError
from schemas.ids import EVENT, is_id

PARAMETERS = Names("stream", "type", "status", "from", "to", "limit", "cursor")
NO_STATUS = f"Must be one of {', '.join(EventStatus)}."
NO_EVENT = "There is no event with this id to go on from."


async def list_events(request: web.Request) -> web.Response:
    services, principal = caller(request, EVENTS_READ)
    parameters = read_query(request, PARAMETERS)
    limit = whole_number(parameters, "limit", minimum=1, maximum=LIMIT_MAX, default=LIMIT_DEFAULT)
    chosen = await _filter(services, principal, parameters)
    scope = principal.workspace, principal.environment
    cursors, bound_to = services.cursors, chosen.bound_to(*scope)
    given = _given_cursor(cursors, bound_to, parameters)
    names = chosen.streams
    await wait_for_writes(request, services, principal, lambda name: names is None or name in names)
    try:
        begins_at = given or await _cursor_behind(services, principal, parameters)
        page = await services.reads.events_page(*scope, chosen, begins_at, limit)
    except ReadModelUnavailable:
        raise READ_MODEL_BEHIND.refused() from None
    view = {
        "object": "list",
        "data": [event_item(row) for row in page.rows],
        "has_more": page.next is not None,
        "next_cursor": None if page.next is None else cursors.encrypt(bound_to, page.next.encode(), clock.now_ms()),
    }
    return json_response(view)


async def _filter(services: Services, principal: Principal, parameters: dict[str, str]) -> EventFilter:
    first, last = time_range(parameters)
    status = parameters.get("status")
    if status is not None and status not in frozenset(EventStatus):
        raise invalid(FieldError("status", NO_STATUS))
    return EventFilter(
        streams=await _streams(services, principal, parameters.get("stream")),
        type=parameters.get("type"),
        status=status,
        from_ms=first,
        to_ms=last,
        metadata=metadata_filters(parameters),
    )


async def _streams(services: Services, principal: Principal, asked: str | None) -> tuple[str, ...] | None:
    """The stream by name or id; without one, those that the key may use. Raises Refused: stream_not_found."""
    if asked is None:
        return tuple(sorted(principal.streams)) or None
    scope = principal.workspace, principal.environment
    known = services.control.view.any_stream(*scope, asked)
    name = asked if known is None else known.name
    if not principal.may_use_stream(name):
        raise STREAM_NOT_FOUND.refused()
    if known is None and not await _has_events(services, scope, name):
        known = await look_twice(services, lambda: services.control.view.any_stream(*scope, asked))
        if known is None or not principal.may_use_stream(known.name):
            raise STREAM_NOT_FOUND.refused()
        name = known.name
    return (name,)


async def _has_events(services: Services, scope: tuple[str, str], name: str) -> bool:
    """Whether a stream that was deleted still has events: they are kept for longer than the stream."""
    try:
        page = await services.reads.events_page(*scope, EventFilter(streams=(name,)), None, 1)
    except ReadModelUnavailable:
        raise READ_MODEL_BEHIND.refused() from None
    return bool(page.rows)


def _given_cursor(cursors: Cursors, bound_to: bytes, parameters: dict[str, str]) -> EventCursor | None:
    """The cursor that an earlier page gave out; None without one, and for an event's id."""
    text = parameters.get("cursor")
    if text is None or is_id(text, EVENT):
        return None
    try:
        return decode_cursor(cursors.decrypt(bound_to, text, clock.now_ms()))
    except CursorInvalid as error:
        raise invalid(FieldError("cursor", str(error))) from None


async def _cursor_behind(services: Services, principal: Principal, parameters: dict[str, str]) -> EventCursor | None:
    """Behind the event whose id is given as the cursor (A-086); None where none is given."""
    event_id = parameters.get("cursor")
    if event_id is None:
        return None
    scope = principal.workspace, principal.environment

    async def look() -> EventCursor | None:
        stored = await services.reads.event(*scope, event_id)
        is_mine = stored is not None and is_shown(principal, stored.event.stream)
        return await services.reads.cursor_behind(*scope, event_id) if is_mine else None

    cursor = await look_until_sure(services, lambda: streams_shown(services, principal), look)
    if cursor is None:
        raise invalid(FieldError("cursor", NO_EVENT))
    return cursor


ROUTES = (web.get("/v1/events", list_events, name="list_events"),)
