"""What a decided record causes: its decision, a delivery a route, the verdict on the request that waits. Pure.

Every id is derived from the record that made the decision, so a record that is read again causes the same once more.
Values are put together from the pieces of the event (schemas/event_layout.py) and from what all records of a partition
share: that is a third of the time that encoding each record anew takes. Tests hold the bytes equal to the codec's.
"""

from typing import Any, NamedTuple

import msgspec

from processors.admission.decide import Admitted, Conflicted, Decided, Seen, Source, scope_of
from processors.admission.reading import ReadEvent
from processors.runtime.batches import Record
from schemas.avro_pieces import NOTHING, array, bytes_, long, string
from schemas.codec import DECISION, DELIVERY, VERDICT
from schemas.entities import Stream, workflow_entity_id
from schemas.ids import DELIVERY as DELIVERY_ID
from schemas.ids import derived_id
from schemas.records import Decision
from schemas.replies import REPLY_HEADER, decode_reply
from schemas.topics import StreamTopic, surface_of

Message = dict[str, Any]
"""What `Work.produce_many` takes: value, and key or partition."""

ADMITTED, REPLAY, CONFLICT, REFUSED = "admitted", "replay", "conflict", "refused"
_OUTCOME_FIELD = {outcome: string(outcome) for outcome in (ADMITTED, REPLAY, CONFLICT)}
_PRESENT, _TRUE = b"\x02", b"\x01"
_CORRELATION_LENGTH = long(16)
_EVENT_KIND = string("event")
_KIND_LEFT_OUT = NOTHING * 2  # type, occurred_at
_ABOUT_LEFT_OUT = NOTHING * 2  # actor, metadata


class Place(NamedTuple):
    """One partition of a stream, and what all its records share. `…_field`: encoded already."""

    topic: StreamTopic
    stream: Stream
    scope: bytes
    source_field: bytes
    owner_field: bytes
    routes_field: bytes


class Effects(msgspec.Struct, frozen=True, gc=False):
    """Messages by topic. `verdict` and the table's entry go with `decision`: all of it or, where it fails, nothing."""

    decision: Message
    verdict: Message | None
    deliveries: list[Message]


def place_of(topic: StreamTopic, stream: Stream, partition: int) -> Place:
    return Place(
        topic,
        stream,
        scope_of(topic.workspace, topic.environment, surface_of(topic.stream)),
        string(topic.name) + string(stream.topic_id) + long(partition),
        string(topic.workspace) + string(topic.environment) + string(topic.stream),
        _routes_field(stream.default_routes),
    )


def outcome_of(decided: Decided) -> str:
    if isinstance(decided, Admitted):
        return ADMITTED
    return CONFLICT if isinstance(decided, Conflicted) else REPLAY


def effects_of(decided: Decided, place: Place, record: Record, event: ReadEvent) -> Effects:
    """The decision stands on the partition of its source record, so that who reads both needs one partition of each."""
    outcome = outcome_of(decided)
    entry = decided.entry if isinstance(decided, Admitted) else decided.original
    routes = place.routes_field if entry.routes is place.stream.default_routes else _routes_field(entry.routes)
    decision = {"value": _decision(outcome, place, record, event, entry, routes), "partition": record.partition}
    reply = None if event.direct else decode_reply(record.header(REPLY_HEADER))
    verdict = None
    if reply is not None:
        verdict = {"value": _verdict(outcome, reply.correlation, entry, routes), "partition": reply.partition}
    deliveries = _deliveries(entry, place, event) if entry.routes and outcome == ADMITTED else []
    return Effects(decision, verdict, deliveries)


def refusal_of(record: Record, reason: str) -> Message:
    """Of a record that is no event, so that who waits for its place to be decided goes on."""
    decision = Decision(
        outcome=REFUSED,
        reason=reason,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        received_ms=record.timestamp,
    )
    return {"value": decision.encode(), "partition": record.partition}


def _decision(outcome: str, place: Place, record: Record, event: ReadEvent, entry: Seen, routes: bytes) -> bytes:
    """For an admitted event all that the read model shows but the payload; for others the original's id."""
    pieces = event.pieces
    admitted = outcome == ADMITTED
    key = pieces.idempotency_key
    return b"".join(
        (
            DECISION.prefix,
            _OUTCOME_FIELD[outcome],
            place.source_field,
            long(record.offset),
            long(record.timestamp),
            pieces.id_field,
            NOTHING if admitted else string(entry.event_id),
            NOTHING,  # reason
            _TRUE if event.direct else NOTHING,
            pieces.kind_fields if admitted else _KIND_LEFT_OUT,
            pieces.optional_fields if admitted else _ABOUT_LEFT_OUT + _optional(key),
            long(pieces.data_bytes),
            routes if admitted else NOTHING,
        )
    )


def _verdict(outcome: str, correlation: bytes, entry: Seen, routes: bytes) -> bytes:
    return b"".join(
        (
            VERDICT.prefix,
            _CORRELATION_LENGTH,
            correlation,
            _OUTCOME_FIELD[outcome],
            string(entry.event_id),
            long(entry.received_ms),
            routes,
            NOTHING,  # status
            NOTHING,  # body
        )
    )


def _deliveries(entry: Seen, place: Place, event: ReadEvent) -> list[Message]:
    where = delivery_source(entry.source)
    rest = NOTHING + long(entry.received_ms) + bytes_(event.pieces.body)  # replay 0, received_ms, event
    rest += _EVENT_KIND + long(len(entry.routes))
    topic = place.topic
    messages = []
    for workflow_id in entry.routes:
        delivery_id = derived_id(DELIVERY_ID, entry.received_ms, where, workflow_id.encode(), b"0")
        event_id = event.pieces.id_field
        value = b"".join((DELIVERY.prefix, string(delivery_id), event_id, place.owner_field, string(workflow_id), rest))
        endpoint = workflow_entity_id(topic.workspace, topic.environment, workflow_id)
        messages.append({"value": value, "key": endpoint.encode()})
    return messages


def delivery_source(source: Source) -> bytes:
    """What a delivery's id is derived from, with its route and replay number."""
    return f"{source.topic}\0{source.topic_id}\0{source.partition}\0{source.offset}".encode()


def _routes_field(routes: list[str]) -> bytes:
    return array([string(route) for route in routes])


def _optional(text: str | None) -> bytes:
    return NOTHING if text is None else _PRESENT + string(text)
