"""`POST /v1/events`: one event of the document's form, or CloudEvents in structured, batched and binary mode."""

import asyncio

from aiohttp import hdrs, web

from domain.events.cloudevents import (
    ANY_FORMAT,
    BATCH,
    HTTP_PREFIX,
    STRUCTURED,
    attributes_of,
    key_of,
    media_type_of,
    read_batch,
    read_binary,
    read_structured,
)
from domain.events.rules import EventInvalid
from domain.events.spine_events import BODY_BYTES_MAX, SpineEvent, read_spine_event
from domain.security.principals import EVENTS_WRITE
from ingest_gateway.http.bodies import content_type, read_body
from ingest_gateway.http.errors import Refused
from ingest_gateway.http.queries import read_query
from ingest_gateway.http.request_log import note
from ingest_gateway.metrics import EVENTS_PUBLISHED
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.publishing import LARGE_BYTES, PUBLISHER, add_headers, decision_of
from ingest_gateway.surfaces.shared.requests import caller, idempotency_key
from ingest_gateway.surfaces.spine.errors import error_of, invalid_event
from ingest_gateway.surfaces.spine.publishing import SYSTEM_STREAM, SentSpineEvent, SpinePublisher

JSON = "application/json"
BINARY_MARK = "ce-specversion"
_ACCEPTED = EVENTS_PUBLISHED.labels("spine", "accepted")


async def publish_event(request: web.Request) -> web.Response:
    services, principal = caller(request, EVENTS_WRITE)
    read_query(request, ())
    key = idempotency_key(request)
    publisher = SpinePublisher(services, principal, request.app[SYSTEM_STREAM], request.app[PUBLISHER])
    media = _media(request)
    body = await read_body(request, BODY_BYTES_MAX)
    if len(body) > LARGE_BYTES:
        await asyncio.sleep(0)
    if media == BATCH:
        return await _publish_batch(publisher, body)
    event = _read(request, media, body)
    sent = await publisher.publish(event, key or key_of(event))
    note(request, event_id=sent.event_id)
    confirmed = await publisher.accepted(sent)
    _ACCEPTED.inc()
    return add_headers(json_response(publisher.view_of(sent, confirmed), 201), confirmed)


def _media(request: web.Request) -> str:
    """Binary mode has the data's own content type, or none; what is no CloudEvent as a whole (HTTP binding 3)."""
    is_whole = media_type_of(request.headers.get(hdrs.CONTENT_TYPE)).startswith(ANY_FORMAT)
    if BINARY_MARK in request.headers and not is_whole:
        return ""
    return content_type(request, JSON, STRUCTURED, BATCH)


def _read(request: web.Request, media: str, body: bytes) -> SpineEvent:
    try:
        if media == JSON:
            return read_spine_event(body)
        if media == STRUCTURED:
            return read_structured(body)
        headers = [(name, value.encode("utf-8", "surrogateescape")) for name, value in request.headers.items()]
        return read_binary(attributes_of(headers, HTTP_PREFIX), request.headers.get(hdrs.CONTENT_TYPE), body)
    except EventInvalid as error:
        raise invalid_event(error) from None


async def _publish_batch(publisher: SpinePublisher, body: bytes) -> web.Response:
    """200 when it can be read; each event has a status and an error of its own. Each is keyed by its id and source."""
    try:
        texts = read_batch(body)
    except EventInvalid as error:
        raise invalid_event(error) from None
    started = [await _started(publisher, text) for text in texts]
    results = [await _result(publisher, sent) for sent in started]
    _ACCEPTED.inc(sum("event" in result for result in results))
    return json_response({"results": results})


async def _started(publisher: SpinePublisher, text: bytes) -> SentSpineEvent | Refused:
    try:
        event = read_structured(text)
        return await publisher.publish(event, key_of(event))
    except EventInvalid as error:
        return invalid_event(error)
    except Refused as refused:
        return refused


async def _result(publisher: SpinePublisher, sent: SentSpineEvent | Refused) -> dict[str, object]:
    try:
        if isinstance(sent, Refused):
            raise sent
        confirmed = await publisher.accepted(sent)
        named = decision_of(confirmed)
        decision = {} if named is None else {"decision": named}
        return {"status": 201, **decision, "event": publisher.view_of(sent, confirmed)}
    except Refused as refused:
        return {"status": refused.status, "error": error_of(refused)}


ROUTES = (web.post("/v1/events", publish_event, name="publish_event"),)
