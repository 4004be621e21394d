"""`POST /v1/events/batch`: up to 10,000 events or 32 MiB in one request, as `{"events": […]}` or as NDJSON lines.

Each item is published like a single event, with its key in `idempotency_key`, and has a result of its own, in order; a
bad item spoils no other. The answer is 200 as soon as the batch can be read. A JSON batch is refused as a whole before
any of it is sent: too many items, none, or no capacity for them. NDJSON is sent as it comes, so an error of the whole
request (too many lines, too large, cut short) is answered after the lines before it were taken; the answer says how
many, and where it stopped. A compressed body is checked to its end before its first line is taken. Sending such a batch
again is safe: the same event has the same id.
"""

import asyncio
from collections.abc import Iterator, Sequence

import msgspec
import orjson
from aiohttp import web

from domain.events.bulk import usual_events
from domain.events.rules import EventFields, EventInvalid, read_event
from domain.json.strict import JsonError
from domain.security.principals import EVENTS_WRITE
from ingest_gateway.http.bodies import content_type, read_body
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.http.guard import REQUEST_ID
from ingest_gateway.http.lines import LineTooLong, iter_lines
from ingest_gateway.http.queries import read_query
from ingest_gateway.http.request_log import note
from ingest_gateway.metrics import EVENTS_PUBLISHED
from ingest_gateway.surfaces.events.bulk import SentUsualEvents
from ingest_gateway.surfaces.events.envelope import BATCH_EVENTS_MAX, TOO_MANY, batch_items
from ingest_gateway.surfaces.events.errors import INVALID_BATCH, error_of
from ingest_gateway.surfaces.events.publishing import (
    EVENT_BODY_BYTES_MAX,
    SentStreamEvent,
    StreamPublisher,
    body_of,
    invalid,
    refuse_a_delivery,
)
from ingest_gateway.surfaces.shared.errors import BUSY
from ingest_gateway.surfaces.shared.publishing import LARGE_BYTES, PUBLISHER, decision_of
from ingest_gateway.surfaces.shared.requests import caller, idempotency_key
from operations import clock
from schemas.errors import FieldError

JSON, NDJSON = "application/json", "application/x-ndjson"
BATCH_BYTES_MAX = 32 * 1024 * 1024
PIECE_ITEMS = 256  # taken, or answered, before the loop serves other requests
PIECE_BYTES = 131_072
ALONE_COST_BYTES = 500  # what an item that is handled alone costs besides its bytes

NONE = "A batch has at least one event."

_ACCEPTED = EVENTS_PUBLISHED.labels("batch", "accepted")
_REJECTED = EVENTS_PUBLISHED.labels("batch", "rejected")


class PublishBatch:
    """The items of one request: each is either on its way or refused already. Usual events that follow one another on
    one stream are handled together, any other item alone.
    """

    def __init__(self, publisher: StreamPublisher, request_id: str) -> None:
        self._publisher = publisher
        self._request_id = request_id
        self._items: list[SentStreamEvent | SentUsualEvents | Refused] = []
        self._results: list[bytes] = []
        self._taken = 0
        self._alone_bytes = 0
        self.accepted = 0

    def __len__(self) -> int:
        return self._taken

    @property
    def rejected(self) -> int:
        return len(self._results) - self.accepted

    async def take(self, items: Sequence[bytes | LineTooLong]) -> None:
        """More items, as they were sent."""
        for piece in pieces_of(items):
            await self._take_piece(piece)
            self._taken += len(piece)
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """Waits for the answers to all items, then lets the items go."""
        for item in self._items:
            if isinstance(item, SentUsualEvents):
                await self._finish_together(item)
            else:
                self._results.append(await self._result(len(self._results), item))
                if len(self._results) % PIECE_ITEMS == 0:
                    await asyncio.sleep(0)
        self._items.clear()
        _ACCEPTED.inc(self.accepted)
        _REJECTED.inc(self.rejected)

    def answer(self) -> web.Response:
        head = b'{"object":"batch","accepted":%d,"rejected":%d,"results":[' % (self.accepted, self.rejected)
        body = head + b",".join(self._results) + b"]}"
        return web.Response(body=body, status=200, content_type=JSON)

    async def _take_piece(self, piece: Sequence[bytes | LineTooLong]) -> None:
        now_ms = clock.now_ms()
        usual = iter(usual_events([item for item in piece if not isinstance(item, LineTooLong)], now_ms))
        together: list[EventFields] = []
        for item in piece:
            fields = None if isinstance(item, LineTooLong) else next(usual)
            if together and (fields is None or fields.stream != together[0].stream):
                await self._publish_together(together)
                together = []
            if fields is not None:
                together.append(fields)
            else:
                await self._take_alone(item)
        if together:
            await self._publish_together(together)

    async def _publish_together(self, events: list[EventFields]) -> None:
        try:
            self._items.append(await self._publisher.publish_usual(events))
        except Refused as refused:
            self._items += [refused] * len(events)

    async def _take_alone(self, item: bytes | LineTooLong) -> None:
        if isinstance(item, LineTooLong):
            self._items.append(Refused(ErrorKind.BODY_TOO_LARGE, f"An event may have {EVENT_BODY_BYTES_MAX} bytes."))
            return
        try:
            fields = read_event(item, now_ms=clock.now_ms(), allow_key_field=True)
            if len(item) > LARGE_BYTES:
                await asyncio.sleep(0)
            self._items.append(await self._publisher.publish(fields))
        except EventInvalid as error:
            self._items.append(invalid(error))
        except Refused as refused:
            self._items.append(refused)
        self._alone_bytes += ALONE_COST_BYTES + len(item)
        if self._alone_bytes > LARGE_BYTES:
            self._alone_bytes = 0
            await asyncio.sleep(0)

    async def _finish_together(self, events: SentUsualEvents) -> None:
        await self._publisher.reported(events)
        first = len(self._results)
        for begin in range(0, len(events), PIECE_ITEMS):
            results, accepted = events.results(first, begin, min(len(events), begin + PIECE_ITEMS), self._refusal)
            self._results += results
            self.accepted += accepted
            await asyncio.sleep(0)

    async def _result(self, index: int, item: SentStreamEvent | Refused) -> bytes:
        if isinstance(item, Refused):
            return self._refusal(index, item)
        try:
            confirmed = await self._publisher.accepted(item)
        except Refused as refused:
            return self._refusal(index, refused)
        self.accepted += 1
        named = decision_of(confirmed)
        decision = b"" if named is None else b',"decision":"%b"' % named.encode()
        return b'{"index":%d,"status":202%b,"event":%b}' % (index, decision, body_of(item, confirmed))

    def _refusal(self, index: int, refused: Refused) -> bytes:
        error = error_of(refused, self._request_id)
        return orjson.dumps({"index": index, "status": refused.status, "error": error})


async def publish_batch(request: web.Request) -> web.Response:
    services, principal = caller(request, EVENTS_WRITE)
    refuse_a_delivery(request)
    read_query(request, ())
    kind = content_type(request, JSON, NDJSON)
    idempotency_key(request)  # may be given, as on every write; the events' own identity makes a repeat safe
    batch = PublishBatch(StreamPublisher(services, principal, request.app[PUBLISHER]), request[REQUEST_ID])
    if kind == JSON:
        items = _items(await read_body(request, BATCH_BYTES_MAX))
        if not services.events.has_room(len(items)):
            raise BUSY.refused()
        for at in range(0, len(items), PIECE_ITEMS):
            await batch.take([_text_of(item) for item in items[at : at + PIECE_ITEMS]])
        await batch.finish()
    else:
        await _take_lines(batch, request)
    note(request, accepted=batch.accepted, rejected=batch.rejected)
    return batch.answer()


async def _take_lines(batch: PublishBatch, request: web.Request) -> None:
    try:
        async for lines in iter_lines(request, limit_bytes=BATCH_BYTES_MAX, line_bytes_max=EVENT_BODY_BYTES_MAX):
            room = BATCH_EVENTS_MAX - len(batch)
            await batch.take(lines[:room])
            if len(lines) > room:
                raise _invalid_batch(TOO_MANY)
        if not len(batch):
            raise _invalid_batch(NONE)
    except Refused as refused:
        await batch.finish()
        raise _after_some(refused, batch) from None
    await batch.finish()


def pieces_of(items: Sequence[bytes | LineTooLong]) -> Iterator[Sequence[bytes | LineTooLong]]:
    """In their order, each as large as may be handled in one go."""
    begin = piece_bytes = 0
    for number, item in enumerate(items):
        size_bytes = 0 if isinstance(item, LineTooLong) else len(item)
        if number - begin == PIECE_ITEMS or (piece_bytes + size_bytes > PIECE_BYTES and number > begin):
            yield items[begin:number]
            begin, piece_bytes = number, 0
        piece_bytes += size_bytes
    if begin < len(items):
        yield items[begin:]


def _text_of(item: msgspec.Raw) -> bytes | LineTooLong:
    return LineTooLong() if len(memoryview(item)) > EVENT_BODY_BYTES_MAX else bytes(item)


def _items(body: bytes) -> list[msgspec.Raw]:
    try:
        items = batch_items(body)
    except JsonError as error:
        raise _invalid_batch(error.message, error.path or "body") from None
    if not items:
        raise _invalid_batch(NONE)
    return items


def _invalid_batch(message: str, field: str = "events") -> Refused:
    return INVALID_BATCH.refused(fields=[FieldError(field, message)])


def _after_some(refused: Refused, batch: PublishBatch) -> Refused:
    """The same error, saying what became of the lines before it, and which is the first that was not taken."""
    taken = batch.accepted + batch.rejected
    counts = {"accepted": batch.accepted, "rejected": batch.rejected, "stopped_at_index": taken}
    message = f"{refused.message} {batch.accepted} events before it were accepted; nothing from index {taken} on was."
    return Refused(
        refused.kind,
        message if batch.accepted else refused.message,
        code=refused.code,
        fields=refused.fields,
        details={**refused.details, **counts},
        headers=refused.headers,
    )


ROUTES = (web.post("/v1/events/batch", publish_batch, name="publish_batch"),)
