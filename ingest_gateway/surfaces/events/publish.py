"""One event from an HTTP body onto the log, and what is answered: the path that single events and batches share.

Without a key the answer is 202 once the broker has the record. With one it waits for admission's verdict: a replay gets
its original's answer, another payload 409. A verdict that is late makes a 202 with no routes and `Atlas-Decision:
pending`, since the event is stored and its id does not depend on the verdict. What the broker did not confirm in time
is a 503: it may be stored all the same, and sending it again with the same key (or the same content) is safe.
"""

import asyncio
from typing import NamedTuple

from aiohttp import web

from domain.delivery.signatures import DELIVERY_HEADER
from domain.events.avro import encode_event
from domain.events.rules import SURFACE, EventFields, EventInvalid, event_id, payload_hash
from domain.security.gateway_signatures import GATEWAY_SIGNATURE
from domain.security.principals import Principal
from ingest_gateway.http.errors import FieldFault, Refused
from ingest_gateway.log.event_log import Appended, LogBusy, LogUnavailable
from ingest_gateway.log.verdicts import Expected, VerdictLate
from ingest_gateway.services import Services
from ingest_gateway.surfaces.events.answers import Shown, accepted
from ingest_gateway.surfaces.events.errors import DUPLICATE_EVENT, INVALID_EVENT
from ingest_gateway.surfaces.shared.answers import DECISION_PENDING, decision_of
from ingest_gateway.surfaces.shared.errors import BUSY, NOT_CONFIRMED, STREAM_NOT_FOUND, refused_by
from schemas.entities import Stream
from schemas.records import Verdict
from schemas.replies import REPLY_HEADER
from schemas.topics import SYSTEM_STREAMS

EVENT_BODY_BYTES_MAX = 1_048_576  # 4 × what `data` may have: room for white space, actor and metadata
LARGE_BYTES = 65_536  # of JSON to read: then other requests have their turn (J13)
CATCH_UP_SECONDS = 2.0
LEAST_WAIT_SECONDS = 0.001
A_DELIVERY = "This is a delivery of Atlas. To make a new event of it, send it without this header."


class Sent(NamedTuple):
    """An event on its way to the log. `expected` is there when it has a key."""

    shown: Shown
    routes: list[str]
    appended: asyncio.Future[Appended]
    expected: Expected | None
    at_seconds: float


class Accepted(NamedTuple):
    """`appended` is None when only the verdict has confirmed the record. `decision`: that no verdict came in time
    (`pending`), or that it was a `replay`; None for what was admitted, and where no verdict was waited for.
    """

    body: bytes
    appended: Appended | None
    decision: str | None = None


def refuse_a_delivery(request: web.Request) -> None:
    """Raises Refused for a delivery of ours that somebody forwards as it came: its event would be delivered, forwarded
    and delivered again without end (W6). Whoever means to make a new event of it leaves the header out.
    """
    if DELIVERY_HEADER in request.headers:
        raise INVALID_EVENT.refused(fields=[FieldFault(DELIVERY_HEADER, A_DELIVERY)])


class Publisher:
    """One request's way of publishing: as one principal, with streams looked up once."""

    def __init__(self, services: Services, principal: Principal) -> None:
        self._services = services
        self._principal = principal
        self._streams: dict[str, Stream | None] = {}
        self._caught_up = self._is_behind = False

    async def publish(self, fields: EventFields) -> Sent:
        """Queues the event for the broker. Raises Refused: stream_not_found, unavailable."""
        stream = self._streams.get(fields.stream) or await self._find_stream(fields.stream)
        return self._send(stream, fields)

    async def settle(self, sent: Sent) -> Accepted:
        """Waits for the answer. Raises Refused: duplicate_event, unavailable."""
        settings = self._services.settings
        appended = await _confirmed(sent, sent.at_seconds + settings.append_timeout_seconds)
        if sent.expected is None:
            if appended is None:
                raise NOT_CONFIRMED.refused()
            return Accepted(_accepted_now(sent, appended, sent.routes), appended)
        # An append that is in doubt is certain once its verdict is here; that is not worth a longer wait.
        patience_seconds = settings.verdict_timeout_seconds if appended is not None else 0.0
        left_seconds = sent.at_seconds + patience_seconds - _loop_seconds()
        try:
            verdict = await sent.expected.verdict(max(LEAST_WAIT_SECONDS, left_seconds))
        except VerdictLate:
            if appended is None:
                raise NOT_CONFIRMED.refused() from None
            return Accepted(_accepted_now(sent, appended, []), appended, DECISION_PENDING)
        return Accepted(_decided(sent, verdict), appended, decision_of(verdict))

    async def _find_stream(self, name: str) -> Stream:
        stream = self._look(name)
        if stream is None and not self._caught_up and self._may_exist(name):
            self._caught_up = True
            self._is_behind = not await self._services.control.catch_up(CATCH_UP_SECONDS)
            stream = self._look(name)
        if stream is None:
            # Without a look at the present end nobody can say that the stream is not there.
            raise (NOT_CONFIRMED if self._is_behind and self._may_exist(name) else STREAM_NOT_FOUND).refused()
        self._streams[name] = stream
        return stream

    def _look(self, name: str) -> Stream | None:
        if not self._may_exist(name):
            return None
        return self._services.control.view.stream(self._principal.workspace, self._principal.environment, name)

    def _may_exist(self, name: str) -> bool:
        """Whether this key may write to a stream of that name; the system's own are not written to from here."""
        return name not in SYSTEM_STREAMS and self._principal.may_use_stream(name)

    def _send(self, stream: Stream, fields: EventFields) -> Sent:
        services, principal = self._services, self._principal
        digest = payload_hash(fields)
        identifier = event_id(principal.workspace, principal.environment, SURFACE, fields, digest)
        value = encode_event(fields, identifier)
        headers = [(GATEWAY_SIGNATURE, services.signer.sign(stream.topic, digest, value))]
        key = fields.idempotency_key
        expected = None
        try:
            if key is not None:
                expected = services.verdicts.expect()
                headers.append((REPLY_HEADER, expected.reply.encode()))
            appended = services.events.append(stream.topic, (key or identifier).encode(), value, headers)
        except (LogBusy, LogUnavailable) as error:
            if expected is not None:
                expected.forget()
            raise (BUSY if isinstance(error, LogBusy) else NOT_CONFIRMED).refused() from error
        shown = Shown(identifier, fields.stream, fields.type, fields.occurred_at, key)
        return Sent(shown, stream.default_routes, appended, expected, _loop_seconds())


def invalid(error: EventInvalid, *others: FieldFault) -> Refused:
    """All faults of one event as the surface tells them; `others` stand first."""
    faults = [*others, *(FieldFault(field, message) for field, message in error.faults)]
    return INVALID_EVENT.refused(fields=faults + faults[-1:] * error.more)  # `Refused` shows 20 and counts the rest


async def _confirmed(sent: Sent, deadline_seconds: float) -> Appended | None:
    """Where the broker has stored the record; None when it did not say so in time."""
    try:
        if sent.appended.done():
            return sent.appended.result()
        async with asyncio.timeout_at(deadline_seconds):
            return await sent.appended
    except (TimeoutError, LogUnavailable):
        return None


def _accepted_now(sent: Sent, appended: Appended, routes: list[str]) -> bytes:
    return accepted(sent.shown, sent.shown.event_id, appended.timestamp_ms, routes)


def _decided(sent: Sent, verdict: Verdict) -> bytes:
    match verdict.outcome:
        case "admitted" | "replay":
            return accepted(sent.shown, verdict.event_id, verdict.received_ms, verdict.routes)
        case "conflict":
            raise DUPLICATE_EVENT.refused(details={"original_event_id": verdict.event_id})
        case _:
            raise refused_by(verdict)


def _loop_seconds() -> float:
    return asyncio.get_running_loop().time()
