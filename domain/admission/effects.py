"""What a decided record causes: its decision, a delivery a route, the verdict on the request that waits. Pure.

Every id is derived from the record that made the decision, so a record that is read again causes the same once more.
Values are put together from the pieces of the event (schemas/event_layout.py) and from what all records of a partition
share: that is a third of the time that encoding each record anew takes. Tests hold the bytes equal to the codec's.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from domain.admission.reading import ReadEvent
from domain.delivery.delivery_ids import delivery_id
from domain.idempotency.events import Admitted, Conflicted, KeyDecision, KeyEntry, KeyScope, Replayed
from schemas.avro_pieces import NOTHING, array, bytes_, long, string
from schemas.codec import DECISION, DELIVERY, VERDICT
from schemas.entities import Stream, workflow_entity_id
from schemas.log_records import LogRecord
from schemas.records import Decision
from schemas.replies import REPLY_HEADER, decode_reply
from schemas.topics import SYSTEM_STREAMS, StreamTopic, surface_of

Message = dict[str, Any]
"""What `Work.produce_many` takes: value and key."""

REFUSED = "refused"
_OUTCOMES = (Admitted.outcome, Replayed.outcome, Conflicted.outcome)
_OUTCOME_FIELD = {outcome: string(outcome) for outcome in _OUTCOMES}
_PRESENT, _TRUE = b"\x02", b"\x01"
_CORRELATION_LENGTH = long(16)
_EVENT_KIND = string("event")
_OF_GATEWAY, _OF_PRODUCER = NOTHING * 2 + NOTHING, NOTHING * 2 + _TRUE  # original_id, reason, direct
_LEFT_OUT = NOTHING * 4  # type, occurred_at, actor, metadata
_VERDICT_END = NOTHING * 2  # status, body

_time_field = lru_cache(maxsize=1_024)(long)
"""Records that were appended together share their time."""


class Place(NamedTuple):
    """One partition of a stream, and what all its records share. `…_field`: encoded already. `routes`: those of all
    its events; None where each may have others.
    """

    topic: StreamTopic
    stream: Stream
    partition: int
    scope: KeyScope
    decision_heads: dict[str, bytes]
    verdict_head: bytes
    owner_field: bytes
    routes_field: bytes
    routes: list[str] | None


class Effects(msgspec.Struct, frozen=True, gc=False):
    """What leaves, and the table's entry with it: all of it or, where it fails, nothing. `verdict`: the partition of
    the gateway that waits, and the value. `conflict`: what its dead letter says, where nobody waits to be told.
    """

    decision: bytes
    verdict: tuple[int, bytes] | None
    deliveries: list[Message]
    conflict: str | None = None


def place_of(topic: StreamTopic, stream: Stream, partition: int) -> Place:
    source_field = string(topic.name) + string(stream.topic_id) + long(partition)
    return Place(
        topic,
        stream,
        partition,
        KeyScope(topic.workspace, topic.environment, surface_of(topic.stream)),
        {outcome: DECISION.prefix + _OUTCOME_FIELD[outcome] + source_field for outcome in _OUTCOMES},
        VERDICT.prefix + _CORRELATION_LENGTH,
        string(topic.workspace) + string(topic.environment) + string(topic.stream),
        _routes_field(stream.default_routes),
        None if topic.stream in SYSTEM_STREAMS else stream.default_routes,
    )


def effects_of(decided: KeyDecision, place: Place, record: LogRecord, event: ReadEvent) -> Effects:
    """The decision is for the partition of its source record, so that who reads both needs one partition of each."""
    outcome, entry = decided.outcome, decided.entry
    routes = place.routes_field if entry.routes is place.stream.default_routes else _routes_field(entry.routes)
    reply = None if event.direct else decode_reply(record.header(REPLY_HEADER))
    verdict = None
    if reply is not None:
        id_field = event.pieces.id_field if entry.event_id == event.pieces.event_id else string(entry.event_id)
        value = b"".join(
            (
                place.verdict_head,
                reply.correlation,
                _OUTCOME_FIELD[outcome],
                id_field,
                _time_field(entry.received_ms),
                routes,
                _VERDICT_END,
            )
        )
        verdict = reply.partition, value
    if type(decided) is not Admitted:
        against = _decision_against(outcome, place, record, event, entry)
        told = _conflict_of(entry) if event.direct and type(decided) is Conflicted else None
        return Effects(against, verdict, NO_DELIVERIES, told)
    pieces = event.pieces
    decision = b"".join(
        (
            place.decision_heads[outcome],
            long(record.offset),
            _time_field(record.timestamp),
            pieces.id_field,
            _OF_PRODUCER if event.direct else _OF_GATEWAY,
            pieces.kind_fields,
            pieces.optional_fields,
            long(pieces.data_bytes),
            routes,
        )
    )
    return Effects(decision, verdict, _deliveries(entry, place, event) if entry.routes else NO_DELIVERIES)


NO_DELIVERIES: list[Message] = []


def _conflict_of(original: KeyEntry) -> str:
    """A gateway's caller gets the answer 409; a direct producer can only find this in a dead letter."""
    source = original.source
    return (
        f"its idempotency key stands for the event {original.event_id} with other content ({source.topic}, partition "
        f"{source.partition}, offset {source.offset}); a key holds for 24 hours in the whole workspace and environment"
    )


def refusal_of(record: LogRecord, reason: str) -> bytes:
    """The decision on a record that is no event, so that who waits for its place to be decided goes on."""
    decision = Decision(
        outcome=REFUSED,
        reason=reason,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        received_ms=record.timestamp,
    )
    return decision.encode()


def _decision_against(outcome: str, place: Place, record: LogRecord, event: ReadEvent, entry: KeyEntry) -> bytes:
    """A replay or a conflict: of the event its id, key and size, and the original's id; nothing that would be shown."""
    pieces = event.pieces
    key = pieces.idempotency_key
    return b"".join(
        (
            place.decision_heads[outcome],
            long(record.offset),
            _time_field(record.timestamp),
            pieces.id_field,
            string(entry.event_id),
            NOTHING,  # reason
            _TRUE if event.direct else NOTHING,
            _LEFT_OUT,
            NOTHING if key is None else _PRESENT + string(key),
            long(pieces.data_bytes),
            NOTHING,  # routes
        )
    )


def _deliveries(entry: KeyEntry, place: Place, event: ReadEvent) -> list[Message]:
    rest = NOTHING + long(entry.received_ms) + bytes_(event.pieces.body)  # replay 0, received_ms, event
    rest += _EVENT_KIND + long(len(entry.routes))
    topic = place.topic
    messages = []
    for workflow_id in entry.routes:
        identifier = delivery_id(entry.source, entry.received_ms, workflow_id)
        event_id = event.pieces.id_field
        value = b"".join((DELIVERY.prefix, string(identifier), event_id, place.owner_field, string(workflow_id), rest))
        endpoint = workflow_entity_id(topic.workspace, topic.environment, workflow_id)
        messages.append({"value": value, "key": endpoint.encode()})
    return messages


def _routes_field(routes: list[str]) -> bytes:
    return array([string(route) for route in routes])
