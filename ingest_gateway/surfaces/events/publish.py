"""`POST /v1/events`: one event, 202 when it is stored. The order of checks: the caller's key, content type, size, JSON,
fields (all errors at once), stream, idempotency.
"""

import asyncio

from aiohttp import web

from domain.events.fields import NO_KEY, key_from_header
from domain.events.rules import EventFields, EventInvalid, read_event
from domain.security.principals import EVENTS_WRITE
from ingest_gateway.http.bodies import content_type, read_body
from ingest_gateway.http.queries import read_query
from ingest_gateway.http.request_log import note
from ingest_gateway.metrics import EVENTS_PUBLISHED
from ingest_gateway.surfaces.events.errors import INVALID_EVENT
from ingest_gateway.surfaces.events.publishing import (
    EVENT_BODY_BYTES_MAX,
    StreamPublisher,
    body_of,
    invalid,
    refuse_a_delivery,
)
from ingest_gateway.surfaces.shared.publishing import LARGE_BYTES, PUBLISHER, add_headers
from ingest_gateway.surfaces.shared.requests import IDEMPOTENCY_KEY, caller
from operations import clock
from schemas.errors import FieldError

_ACCEPTED = EVENTS_PUBLISHED.labels("single", "accepted")


async def publish_event(request: web.Request) -> web.Response:
    services, principal = caller(request, EVENTS_WRITE)
    refuse_a_delivery(request)
    read_query(request, ())
    content_type(request, "application/json")
    body = await read_body(request, EVENT_BODY_BYTES_MAX)
    fields = _read(request, body)
    if len(body) > LARGE_BYTES:
        await asyncio.sleep(0)
    publisher = StreamPublisher(services, principal, request.app[PUBLISHER])
    sent = await publisher.publish(fields)
    note(request, event_id=sent.event_id)
    confirmed = await publisher.accepted(sent)
    _ACCEPTED.inc()
    response = web.Response(body=body_of(sent, confirmed), status=202, content_type="application/json")
    return add_headers(response, confirmed)


def _read(request: web.Request, body: bytes) -> EventFields:
    """Raises Refused with the errors of key and body together."""
    written = request.headers.get(IDEMPOTENCY_KEY)
    key = None if written is None else key_from_header(written)
    key_errors = [] if written is None or key is not None else [FieldError(IDEMPOTENCY_KEY, NO_KEY)]
    try:
        fields = read_event(body, now_ms=clock.now_ms(), allow_key_field=False, key=key)
    except EventInvalid as error:
        raise invalid(error, *key_errors) from None
    if key_errors:
        raise INVALID_EVENT.refused(fields=key_errors)
    return fields


ROUTES = (web.post("/v1/events", publish_event, name="publish_event"),)
