"""`decisions`: an admitted event is a row, with one more for each key of its metadata; so is an id that lost. Pure."""

from functools import lru_cache

import msgspec

from processors.projection.changes import KEY_CHARACTERS_MAX, Changes, LogRecord, json_text, key_text, plain_text
from schemas.event_status import status_at_first
from schemas.read_model import (
    ConflictRow,
    EventRow,
    MetadataRow,
    SourcePosition,
    event_conflicts,
    events,
    events_metadata,
)
from schemas.records import Decision
from schemas.spine_events import SOURCE_TERM, source_of
from schemas.spine_events import STREAM as SPINE
from schemas.topics import StreamTopic, parse_stream_topic

DECIDED = frozenset({"admitted", "replay", "conflict", "refused"})
METADATA_KEYS_MAX, METADATA_KEY_CHARACTERS_MAX, METADATA_VALUE_CHARACTERS_MAX = 20, 64, 512


def apply(changes: Changes, record: LogRecord) -> None:
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
        changes.rows[events].append(event)
        if event.metadata is not None:
            changes.rows[events_metadata] += _metadata(event)
        if event.stream == SPINE:
            changes.rows[events_metadata].append(_source(event))
    elif decision.outcome == "conflict":
        changes.rows[event_conflicts].append(_conflict(decision, source))
    if not decision.direct and decision.partition == record.partition:
        _pass_source(changes.sources, decision, record.offset)


@lru_cache(maxsize=4_096)
def _stream_topic(name: str) -> StreamTopic | None:
    return parse_stream_topic(name) if len(name) <= KEY_CHARACTERS_MAX and "\x00" not in name else None


def _event(decision: Decision, source: StreamTopic) -> EventRow:
    return EventRow(
        source.workspace,
        source.environment,
        key_text(decision.event_id),
        source.stream,
        plain_text(decision.type),
        decision.received_ms,
        plain_text(decision.occurred_at),
        None if decision.idempotency_key is None else plain_text(decision.idempotency_key),
        json_text(decision.actor),
        json_text(decision.metadata),
        _routes(tuple(decision.routes)),
        decision.data_bytes,
        decision.topic,
        plain_text(decision.topic_id),
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
        row = MetadataRow(
            event.workspace, event.environment, plain_text(key), plain_text(value), event.received_ms, event.id
        )
        rows.append(row)
    return rows[:METADATA_KEYS_MAX]


def _source(event: EventRow) -> MetadataRow:
    """By which the spine's events are found, beside their metadata."""
    source = plain_text(source_of(event.actor))[:METADATA_VALUE_CHARACTERS_MAX]
    return MetadataRow(event.workspace, event.environment, SOURCE_TERM, source, event.received_ms, event.id)


def _scalar(value: object) -> str | None:
    """A number or boolean as JSON writes it; None for what can't be searched for."""
    return msgspec.json.encode(value).decode() if isinstance(value, bool | int | float) else None


def _conflict(decision: Decision, source: StreamTopic) -> ConflictRow:
    return ConflictRow(
        source.workspace,
        source.environment,
        key_text(decision.event_id),
        key_text(decision.original_id),
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
    sources[key] = SourcePosition(
        decision.topic, decision.partition, plain_text(decision.topic_id), next_offset, log_offset
    )


_METADATA = msgspec.json.Decoder(dict[str, object])
