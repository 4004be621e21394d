"""Records of `decisions`, `outcomes` and `audit` become rows of the read model. Pure.

What can't become rows is named, alone. Text goes in as it came, but for NUL, which PostgreSQL can't hold in text: it
is shown as U+FFFD (RELIABILITY F51).
Leaves out: SQL (store.py) and which of two rows is the newer (store.py, schemas/read_model.py).
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import msgspec

from schemas.codec import Undecodable
from schemas.event_status import status_at_first
from schemas.read_model import (
    AttemptRow,
    AuditRow,
    ConflictRow,
    EventRow,
    LogPosition,
    MetadataRow,
    SourcePosition,
)
from schemas.records import Audit, Decision, Outcome
from schemas.topics import StreamTopic, Topic, parse_stream_topic
from schemas.webhooks import DeliveryKind

DECIDED = frozenset({"admitted", "replay", "conflict", "refused"})
ATTEMPT_STATUSES = frozenset({"in_progress", "delivered", "retry_scheduled", "exhausted", "disabled"})
METADATA_KEYS_MAX, METADATA_KEY_CHARACTERS_MAX, METADATA_VALUE_CHARACTERS_MAX = 20, 64, 512
KEY_CHARACTERS_MAX = 255  # far above any id of ours; PostgreSQL's index rows end at 2,704 bytes


class LogRecord(Protocol):
    """What is asked of a Kafka record here."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True)
class Unreadable:
    record: LogRecord
    why: str


@dataclass
class Changes:
    """What one batch of one partition changes in the read model."""

    position: LogPosition
    events: list[EventRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    metadata: list[MetadataRow] = field(default_factory=list)
    conflicts: list[ConflictRow] = field(default_factory=list)
    audit: list[AuditRow] = field(default_factory=list)
    sources: dict[tuple[str, int], SourcePosition] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)


def project(records: Sequence[LogRecord], without: Container[int] = ()) -> Changes:
    """The rows of these records (one partition's, at least one, in order); `without` names offsets to leave out."""
    last = records[-1]
    changes = Changes(LogPosition(last.topic, last.partition, last.offset + 1))
    apply = _APPLY[Topic(last.topic)]
    for record in records:
        if record.offset in without:
            continue
        try:
            apply(changes, record)
        except (Undecodable, ValueError, TypeError) as error:
            changes.unreadable.append(Unreadable(record, str(error)))
    return changes


def _apply_decision(changes: Changes, record: LogRecord) -> None:
    """A refusal names any topic; all else is about a stream's."""
    decision = Decision.decode(record.value)
    if decision.outcome not in DECIDED:
        raise ValueError("the decision's outcome is not a known one")
    source = _stream_topic(decision.topic)
    if source is None:
        if decision.outcome != "refused":
            raise ValueError("the decision is not about a stream's topic")
        return
    if decision.outcome == "admitted":
        event = _event(decision, source)
        changes.events.append(event)
        if event.metadata is not None:
            changes.metadata += _metadata(event)
    elif decision.outcome == "conflict":
        changes.conflicts.append(_conflict(decision, source))
    if not decision.direct and decision.partition == record.partition:
        _pass_source(changes.sources, decision, record.offset)


@lru_cache(maxsize=4_096)
def _stream_topic(name: str) -> StreamTopic | None:
    return parse_stream_topic(name) if len(name) <= KEY_CHARACTERS_MAX and "\x00" not in name else None


def _event(decision: Decision, source: StreamTopic) -> EventRow:
    return EventRow(
        source.workspace,
        source.environment,
        _key(decision.event_id),
        source.stream,
        _text(decision.type),
        decision.received_ms,
        _text(decision.occurred_at),
        None if decision.idempotency_key is None else _text(decision.idempotency_key),
        _json(decision.actor),
        _json(decision.metadata),
        _routes(tuple(decision.routes)),
        decision.data_bytes,
        decision.topic,
        _text(decision.topic_id),
        decision.partition,
        decision.offset,
        str(status_at_first(decision.routes)),
    )


@lru_cache(maxsize=4_096)
def _routes(routes: tuple[str, ...]) -> str:
    return msgspec.json.encode(routes).decode()


def _metadata(event: EventRow) -> list[MetadataRow]:
    """What can be searched for: what the API takes (A-036). Other things, from who knows where, are only shown."""
    try:
        found = _METADATA.decode(event.metadata or "{}")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
    rows = []
    for key, raw in found.items():
        value = raw if isinstance(raw, str) else _scalar(raw)
        if value is None or len(key) > METADATA_KEY_CHARACTERS_MAX or len(value) > METADATA_VALUE_CHARACTERS_MAX:
            continue
        row = MetadataRow(event.workspace, event.environment, _text(key), _text(value), event.received_ms, event.id)
        rows.append(row)
    return rows[:METADATA_KEYS_MAX]


def _scalar(value: object) -> str | None:
    """A number or boolean as JSON writes it; None for what can't be searched for."""
    return msgspec.json.encode(value).decode() if isinstance(value, bool | int | float) else None


def _conflict(decision: Decision, source: StreamTopic) -> ConflictRow:
    return ConflictRow(
        source.workspace,
        source.environment,
        _key(decision.event_id),
        _key(decision.original_id),
        decision.received_ms,
    )


def _pass_source(sources: dict[tuple[str, int], SourcePosition], decision: Decision, log_offset: int) -> None:
    """Decisions about a gateway's records stand in their order, on the partition of the same number.

    A record decided once more (its worker was restarted) takes nothing back; a topic made anew starts anew.
    """
    key = decision.topic, decision.partition
    next_offset = decision.offset + 1
    before = sources.get(key)
    if before is not None and before.topic_id == decision.topic_id:
        next_offset = max(next_offset, before.next_offset)
    sources[key] = SourcePosition(decision.topic, decision.partition, _text(decision.topic_id), next_offset, log_offset)


def _apply_outcome(changes: Changes, record: LogRecord) -> None:
    outcome = Outcome.decode(record.value)
    if outcome.status not in ATTEMPT_STATUSES:
        raise ValueError("the outcome's status is not a known one")
    if outcome.kind == DeliveryKind.WEBHOOK:
        return  # about an event, but none of its routes
    changes.attempts.append(
        AttemptRow(
            _key(outcome.workspace),
            _key(outcome.environment),
            _key(outcome.event_id),
            _key(outcome.delivery_id),
            outcome.attempt,
            _key(outcome.workflow_id),
            outcome.replay,
            outcome.status,
            outcome.received_ms,
            outcome.started_ms,
            outcome.completed_ms,
            outcome.http_status,
            None if outcome.error_code is None else _text(outcome.error_code),
            None if outcome.error_message is None else _text(outcome.error_message),
            outcome.next_attempt_ms,
            outcome.response_excerpt,
            record.offset,
        )
    )


def _apply_audit(changes: Changes, record: LogRecord) -> None:
    audit = Audit.decode(record.value)
    about = (audit.actor, audit.action, audit.route, audit.resource, audit.outcome, audit.request_id, audit.address)
    row = AuditRow(
        _key(audit.workspace),
        _key(audit.id),
        _text(audit.environment),
        record.offset,
        audit.at_ms,
        *(_text(text) for text in about),
    )
    changes.audit.append(row)


def _key(text: str) -> str:
    if not 0 < len(text) <= KEY_CHARACTERS_MAX:
        raise ValueError(f"an id has {len(text)} characters; 1 to {KEY_CHARACTERS_MAX} are possible")
    return _text(text)


def _text(text: str) -> str:
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def _json(document: bytes | None) -> str | None:
    return None if document is None else _text(document.decode("utf-8", "replace"))


_METADATA = msgspec.json.Decoder(dict[str, object])
_APPLY: dict[Topic, Callable[[Changes, LogRecord], None]] = {
    Topic.DECISIONS: _apply_decision,
    Topic.OUTCOMES: _apply_outcome,
    Topic.AUDIT: _apply_audit,
}
