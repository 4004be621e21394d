"""What is the events surface's own about publishing: which stream an event goes to, and the 202 body that it gets.

Without a key the answer is 202 once the broker has the record. With one it waits for admission's verdict: a replay gets
its original's answer, another payload 409. A verdict that is late makes a 202 with no routes and `Atlas-Decision:
pending`. The wait itself is in ingest_gateway/log/publishing.py. Rows of docs/requirements.md: A-039 to A-042.
"""

from collections.abc import Awaitable, Sequence
from functools import lru_cache
from typing import NamedTuple

import orjson
from aiohttp import web

from domain.delivery.signatures import DELIVERY_HEADER
from domain.events.avro import encode_event
from domain.events.rules import SURFACE, EventFields, EventInvalid, event_id, payload_hash
from domain.security.principals import Principal
from ingest_gateway.http.errors import Refused
from ingest_gateway.log.publishing import Confirmed, EventPublisher, SentEvent
from ingest_gateway.services import Services
from ingest_gateway.surfaces.events.bulk import SentUsualEvents, send_usual_events
from ingest_gateway.surfaces.events.errors import DUPLICATE_EVENT, INVALID_EVENT
from ingest_gateway.surfaces.shared.errors import NOT_CONFIRMED, STREAM_NOT_FOUND
from ingest_gateway.surfaces.shared.publishing import accepted, send
from schemas.entities import Stream
from schemas.errors import FieldError
from schemas.records import Verdict
from schemas.times import rfc3339
from schemas.topics import SYSTEM_STREAMS

EVENT_BODY_BYTES_MAX = 1_048_576  # 4 × what `data` may have: enough for white space, actor and metadata
CATCH_UP_SECONDS = 2.0
A_DELIVERY = "This is a delivery of Atlas. To make a new event of it, send it without this header."

_time = lru_cache(maxsize=1_024)(rfc3339)  # the records of one append share their time


class ShownEvent(NamedTuple):
    """What of an event its answer repeats, kept when the event itself is on the log. `routes`: its stream's."""

    stream: str
    type: str
    occurred_at: str
    idempotency_key: str | None
    routes: Sequence[str]


SentStreamEvent = SentEvent[ShownEvent]


class StreamPublisher:
    """Publishes one request's events: as one principal, with each stream looked up once."""

    def __init__(self, services: Services, principal: Principal, publisher: EventPublisher) -> None:
        self._services = services
        self._principal = principal
        self._publisher = publisher
        self._streams: dict[str, Stream | None] = {}
        self._caught_up = self._is_behind = False

    async def publish(self, fields: EventFields) -> SentStreamEvent:
        """Queues the event for the broker. Raises Refused: stream_not_found, unavailable."""
        stream = self._streams.get(fields.stream) or await self._find_stream(fields.stream)
        return self._send(stream, fields)

    async def publish_usual(self, events: Sequence[EventFields]) -> SentUsualEvents:
        """Queues usual events of one stream (domain/events/bulk.py). Raises Refused, as `publish`, of all of them."""
        name = events[0].stream
        stream = self._streams.get(name) or await self._find_stream(name)
        return send_usual_events(self._publisher, self._principal, stream, events)

    async def reported(self, sent: SentUsualEvents) -> None:
        await self._publisher.reported(sent.sent)

    def accepted(self, sent: SentStreamEvent) -> Awaitable[Confirmed]:
        """Waits for the answer. Raises Refused: duplicate_event, unavailable."""
        return accepted(self._publisher, sent, _conflict)

    async def _find_stream(self, name: str) -> Stream:
        stream = self._look(name)
        if stream is None and not self._caught_up and self._may_exist(name):
            self._caught_up = True
            self._is_behind = not await self._services.control.catch_up(CATCH_UP_SECONDS)
            stream = self._look(name)
        if stream is None:
            # Without having read `control` to its present end nobody can say that the stream does not exist.
            raise (NOT_CONFIRMED if self._is_behind and self._may_exist(name) else STREAM_NOT_FOUND).refused()
        self._streams[name] = stream
        return stream

    def _look(self, name: str) -> Stream | None:
        if not self._may_exist(name):
            return None
        return self._services.control.view.stream(self._principal.workspace, self._principal.environment, name)

    def _may_exist(self, name: str) -> bool:
        """Whether this key may write to a stream of that name; no key may write to a system stream here."""
        return name not in SYSTEM_STREAMS and self._principal.may_use_stream(name)

    def _send(self, stream: Stream, fields: EventFields) -> SentStreamEvent:
        principal = self._principal
        digest = payload_hash(fields)
        identifier = event_id(principal.workspace, principal.environment, SURFACE, fields, digest)
        key = fields.idempotency_key
        return send(
            self._publisher,
            stream.topic,
            key or identifier,
            identifier,
            encode_event(fields, identifier),
            digest,
            ShownEvent(fields.stream, fields.type, fields.occurred_at, key, stream.default_routes),
            expects_verdict=key is not None,
        )


def body_of(sent: SentStreamEvent, confirmed: Confirmed) -> bytes:
    """The body of the 202, byte for byte the same for a replay: it has its original's id, time and routes."""
    shown, verdict, appended = sent.shown, confirmed.verdict, confirmed.appended
    if verdict is not None:
        return _body(shown, verdict.event_id, verdict.received_ms, verdict.routes)
    assert appended is not None
    return _body(shown, sent.event_id, appended.timestamp_ms, [] if confirmed.is_pending else shown.routes)


def _body(shown: ShownEvent, identifier: str, received_ms: int, routes: Sequence[str]) -> bytes:
    return orjson.dumps(
        {
            "id": identifier,
            "object": "event",
            "stream": shown.stream,
            "type": shown.type,
            "status": "accepted",
            "received_at": _time(received_ms),
            "occurred_at": shown.occurred_at,
            "idempotency_key": shown.idempotency_key,
            "routes": [{"workflow_id": route, "status": "queued"} for route in routes],
        }
    )


def _conflict(verdict: Verdict) -> Refused:
    return DUPLICATE_EVENT.refused(details={"original_event_id": verdict.event_id})


def refuse_a_delivery(request: web.Request) -> None:
    """Raises Refused for a delivery of ours that a receiver forwards unchanged: its event would be delivered, forwarded
    and delivered again without end (W6). A client that means to make a new event of it leaves the header out.
    """
    if DELIVERY_HEADER in request.headers:
        raise INVALID_EVENT.refused(fields=[FieldError(DELIVERY_HEADER, A_DELIVERY)])


def invalid(error: EventInvalid, *others: FieldError) -> Refused:
    """All errors of one event in the surface's form; `others` come first."""
    errors = [*others, *error.errors]
    return INVALID_EVENT.refused(fields=errors + errors[-1:] * error.more)  # `Refused` shows 20 and counts the rest
