"""How admission's decisions and verdicts are written: Avro put together from pieces (schemas/event_layout.py).

The pieces of the event itself, and what all records of a partition share, are encoded once: that takes a third of the
time that encoding each record as a whole takes. Tests hold the bytes equal to the codec's. Which of them are written is
decided in effects.py.
"""

from functools import lru_cache
from typing import NamedTuple

from domain.admission.reading import ReadEvent
from domain.idempotency.events import Admitted, Conflicted, KeyScope, Replayed
from schemas.avro_pieces import NOTHING, array, long, string
from schemas.codec import DECISION, VERDICT
from schemas.entities import Stream
from schemas.log_records import LogRecord
from schemas.records import Decision
from schemas.topics import SYSTEM_STREAMS, StreamTopic, surface_of

REFUSED = "refused"
_OUTCOMES = (Admitted.outcome, Replayed.outcome, Conflicted.outcome)
_OUTCOME_FIELD = {outcome: string(outcome) for outcome in _OUTCOMES}
_PRESENT, _TRUE = b"\x02", b"\x01"
_CORRELATION_LENGTH = long(16)
_OF_GATEWAY, _OF_PRODUCER = NOTHING * 2 + NOTHING, NOTHING * 2 + _TRUE  # original_id, reason, direct
_LEFT_OUT = NOTHING * 4  # type, occurred_at, actor, metadata
_VERDICT_END = NOTHING * 2  # status, body

_time_field = lru_cache(maxsize=1_024)(long)
"""Records that were appended together share their time."""


class StreamPartition(NamedTuple):
    """One partition of a stream, and what all its records share. `…_field`: encoded already. `routes`: those of all
    its events; None where each event may have others.
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

    def routes_field_of(self, routes: list[str]) -> bytes:
        return self.routes_field if routes is self.stream.default_routes else _routes_field(routes)


def stream_partition(topic: StreamTopic, stream: Stream, partition: int) -> StreamPartition:
    source_field = string(topic.name) + string(stream.topic_id) + long(partition)
    return StreamPartition(
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


def admission_of(partition: StreamPartition, record: LogRecord, event: ReadEvent, routes_field: bytes) -> bytes:
    """The decision `admitted`: the event as it is shown, without its data, and its routes."""
    pieces = event.pieces
    return b"".join(
        (
            partition.decision_heads[Admitted.outcome],
            long(record.offset),
            _time_field(record.timestamp),
            pieces.id_field,
            _OF_PRODUCER if event.direct else _OF_GATEWAY,
            pieces.kind_fields,
            pieces.optional_fields,
            long(pieces.data_bytes),
            routes_field,
        )
    )


def repetition_of(
    outcome: str, partition: StreamPartition, record: LogRecord, event: ReadEvent, original_id: str
) -> bytes:
    """The decision `replay` or `conflict`: of the event its id, key and size, and the original's id; nothing that would
    be shown.
    """
    pieces = event.pieces
    key = pieces.idempotency_key
    return b"".join(
        (
            partition.decision_heads[outcome],
            long(record.offset),
            _time_field(record.timestamp),
            pieces.id_field,
            string(original_id),
            NOTHING,  # reason
            _TRUE if event.direct else NOTHING,
            _LEFT_OUT,
            NOTHING if key is None else _PRESENT + string(key),
            long(pieces.data_bytes),
            NOTHING,  # routes
        )
    )


def refusal_of(record: LogRecord, reason: str) -> bytes:
    """The decision `refused`, on a record that is no event. It is rare, so the codec writes it."""
    decision = Decision(
        outcome=REFUSED,
        reason=reason,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        received_ms=record.timestamp,
    )
    return decision.encode()


def verdict_of(
    outcome: str,
    partition: StreamPartition,
    correlation: bytes,
    event_id_field: bytes,
    received_ms: int,
    routes_field: bytes,
) -> bytes:
    return b"".join(
        (
            partition.verdict_head,
            correlation,
            _OUTCOME_FIELD[outcome],
            event_id_field,
            _time_field(received_ms),
            routes_field,
            _VERDICT_END,
        )
    )


def _routes_field(routes: list[str]) -> bytes:
    return array([string(route) for route in routes])
