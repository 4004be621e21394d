"""`decisions`: an admitted event is a row, with one more for each key of its metadata; so is an id that lost. Pure.

A hot path: rows are put together in one go, and what repeats (topics, routes, metadata) is worked out once.
"""

from functools import lru_cache

import msgspec

from processors.projection.changes import KEY_CHARACTERS_MAX, Changes, LogRecord, json_text, key_text, plain_text
from schemas.codec import DECISION
from schemas.event_status import status_at_first
from schemas.read_model import SourcePosition, event_conflicts, events, events_metadata, scope_of, term_of
from schemas.spine_events import SOURCE_TERM, source_of
from schemas.spine_events import STREAM as SPINE
from schemas.topics import StreamTopic, parse_stream_topic

DECIDED = frozenset({"admitted", "replay", "conflict", "refused"})
METADATA_KEYS_MAX, METADATA_KEY_CHARACTERS_MAX, METADATA_VALUE_CHARACTERS_MAX = 20, 64, 512
METADATA_REMEMBERED_BYTES = 1_024


def apply(changes: Changes, record: LogRecord) -> None:
    """A refusal names any topic; all else is about a stream's."""
    # fmt: off
    (
        outcome, topic, topic_id, partition, offset, received_ms, event_id, original_id, _reason, direct, type_,
        occurred_at, actor, metadata, idempotency_key, data_bytes, routes,
    ) = DECISION.values(record.value)
    # fmt: on
    if outcome not in DECIDED:
        raise ValueError("the decision's outcome is not a known one")
    source = _stream_topic(topic)
    if source is None:
        if outcome != "refused":
            raise ValueError("the decision is not about a stream's topic")
        return
    workspace, environment = source.workspace, source.environment
    if not 0 < len(event_id) <= KEY_CHARACTERS_MAX or "\x00" in event_id:
        event_id = key_text(event_id) if outcome in ("admitted", "conflict") else ""
    if outcome == "admitted":
        texts = type_, occurred_at, topic_id
        if "\x00" in "".join(texts):
            type_, occurred_at, topic_id = map(plain_text, texts)
        if idempotency_key is not None and "\x00" in idempotency_key:
            idempotency_key = plain_text(idempotency_key)
        routed, status = _routes(tuple(routes))
        # fmt: off
        changes.rows[events].append((
            workspace, environment, event_id, source.stream, type_, received_ms, occurred_at, idempotency_key,
            json_text(actor), json_text(metadata), routed, data_bytes, topic, topic_id, partition, offset, status,
            scope_of(workspace, environment), 0,
        ))
        # fmt: on
        if metadata is not None:
            found = _terms if len(metadata) <= METADATA_REMEMBERED_BYTES else _terms.__wrapped__
            changes.rows[events_metadata] += [
                (term, received_ms, event_id) for term in found(workspace, environment, metadata)
            ]
        if source.stream == SPINE:
            changes.rows[events_metadata].append((_source(workspace, environment, actor), received_ms, event_id))
    elif outcome == "conflict":
        conflict = workspace, environment, event_id, key_text(original_id), received_ms
        changes.rows[event_conflicts].append(conflict)
    if not direct and partition == record.partition:
        _pass_source(changes.sources, (topic, partition), plain_text(topic_id), offset + 1, record.offset)


@lru_cache(maxsize=4_096)
def _stream_topic(name: str) -> StreamTopic | None:
    return parse_stream_topic(name) if len(name) <= KEY_CHARACTERS_MAX and "\x00" not in name else None


@lru_cache(maxsize=4_096)
def _routes(routes: tuple[str, ...]) -> tuple[str, str]:
    """As JSON; and the status of an event that has these before any attempt."""
    return msgspec.json.encode(routes).decode(), str(status_at_first(routes))


@lru_cache(maxsize=4_096)
def _terms(workspace: str, environment: str, metadata: bytes) -> tuple[int, ...]:
    """What can be searched for: what the API takes (A-036). Other things, from who knows where, are only shown."""
    return tuple(term_of(workspace, environment, key, value) for key, value in searchable(json_text(metadata) or "{}"))


def _source(workspace: str, environment: str, actor: bytes | None) -> int:
    """By which the spine's events are found, beside their metadata."""
    source = plain_text(source_of(json_text(actor)))[:METADATA_VALUE_CHARACTERS_MAX]
    return term_of(workspace, environment, SOURCE_TERM, source)


def searchable(metadata: str) -> list[tuple[str, str]]:
    """The keys and values of a metadata document by which its event is found."""
    try:
        found = _METADATA.decode(metadata)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
    pairs = []
    for key, raw in found.items():
        value = raw if isinstance(raw, str) else _scalar(raw)
        if value is None or len(key) > METADATA_KEY_CHARACTERS_MAX or len(value) > METADATA_VALUE_CHARACTERS_MAX:
            continue
        pairs.append((plain_text(key), plain_text(value)))
    return pairs[:METADATA_KEYS_MAX]


def _scalar(value: object) -> str | None:
    """A number or boolean as JSON writes it; None for what can't be searched for."""
    return msgspec.json.encode(value).decode() if isinstance(value, bool | int | float) else None


def _pass_source(
    sources: dict[tuple[str, int], SourcePosition],
    key: tuple[str, int],
    topic_id: str,
    next_offset: int,
    log_offset: int,
) -> None:
    """Decisions about a gateway's records stand in their order, on the partition of the same number.

    A record decided once more (its worker was restarted) takes nothing back; a topic made anew starts anew.
    """
    before = sources.get(key)
    if before is not None and before.topic_id == topic_id:
        next_offset = max(next_offset, before.next_offset)
    sources[key] = SourcePosition(*key, topic_id, next_offset, log_offset)


_METADATA = msgspec.json.Decoder(dict[str, object])
