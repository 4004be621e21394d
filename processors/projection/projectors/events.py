"""`decisions`: an admitted event is a row, with one more for each key of its metadata; so is an id that lost.

A hot path: rows are put together in one go, and what repeats (topics, routes, metadata) is worked out once. Many
records are taken together (columns.py); `apply` says the same of each.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from domain.events.spine_events import SOURCE_TERM, source_of
from domain.events.spine_events import STREAM as SPINE
from domain.events.status import status_at_first
from processors.projection.changes import KEY_CHARACTERS_MAX, Changes, ProjectedRecord, json_text, key_text, plain_text
from processors.projection.columns import ByColumns, documents
from schemas.avro_columns import Columns
from schemas.avro_reader import strings_at
from schemas.codec import DECISION
from schemas.read_model import SourcePosition, event_conflicts, events, events_metadata, scope_of, term_of
from schemas.topics import StreamTopic, parse_stream_topic

DECIDED = frozenset({"admitted", "replay", "conflict", "refused"})
METADATA_KEYS_MAX, METADATA_KEY_CHARACTERS_MAX, METADATA_VALUE_CHARACTERS_MAX = 20, 64, 512
METADATA_REMEMBERED_BYTES = 1_024


def apply(changes: Changes, record: ProjectedRecord) -> None:
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
            changes.rows[events_metadata] += [
                (term, received_ms, event_id) for term in _remembered(workspace, environment, metadata)
            ]
        if source.stream == SPINE:
            source_term = _source(workspace, environment, json_text(actor))
            changes.rows[events_metadata].append((source_term, received_ms, event_id))
    elif outcome == "conflict":
        conflict = workspace, environment, event_id, key_text(original_id), received_ms
        changes.rows[event_conflicts].append(conflict)
    if not direct and partition == record.partition:
        _pass_source(changes.sources, (topic, partition), plain_text(topic_id), offset + 1, record.offset)


class _Head(NamedTuple):
    """What a decision begins with, where it admits an event of a stream."""

    workspace: str
    environment: str
    stream: str
    scope: int
    topic: str
    topic_id: str


def _usual(columns: Columns) -> list[bool]:
    """Events that were admitted."""
    heads = map(_head, columns.encoded("outcome", "topic_id"))
    return [
        head is not None and event_id != "" and len(event_id) <= KEY_CHARACTERS_MAX
        for head, event_id in zip(heads, columns.texts("event_id"), strict=True)
    ]


def _add(changes: Changes, columns: Columns, records: Sequence[ProjectedRecord]) -> None:
    heads: list[Any] = list(map(_head, columns.encoded("outcome", "topic_id")))
    workspaces, environments, streams, scopes, topics, topic_ids = zip(*heads, strict=True)
    ids, received = columns.texts("event_id"), columns.numbers("received_ms")
    partitions, offsets = columns.numbers("partition"), columns.numbers("offset")
    metadata, actors = columns.maybe_bytes("metadata"), documents(columns.maybe_bytes("actor"))
    routed, statuses = zip(*map(_encoded_routes, columns.encoded("routes", "routes")), strict=True)
    # fmt: off
    changes.rows[events] += zip(
        workspaces, environments, ids, streams, columns.texts("type"), received, columns.texts("occurred_at"),
        columns.maybe_texts("idempotency_key"), actors, documents(metadata), routed, columns.numbers("data_bytes"),
        topics, topic_ids, partitions, offsets, statuses, scopes, [0] * len(ids),
        strict=True,
    )
    # fmt: on
    changes.rows[events_metadata] += _all_terms(heads, metadata, received, ids)
    if SPINE in streams:
        changes.rows[events_metadata] += [
            (_source(head.workspace, head.environment, actor), received_ms, event_id)
            for head, actor, received_ms, event_id in zip(heads, actors, received, ids, strict=True)
            if head.stream == SPINE
        ]
    direct = columns.numbers("direct")
    for head, partition, offset, is_direct, record in zip(heads, partitions, offsets, direct, records, strict=True):
        if not is_direct and partition == record.partition:
            _pass_source(changes.sources, (head.topic, partition), head.topic_id, offset + 1, record.offset)


BY_COLUMNS = ByColumns(_usual, _add)


@lru_cache(maxsize=4_096)
def _head(encoded: str) -> _Head | None:
    """The fields `outcome` to `topic_id` as they are in the record, as Latin-1; None for all but admissions."""
    (outcome, topic, topic_id), _ = strings_at(b"\x06" + encoded.encode("latin-1") + b"\x00", 0)
    source = _stream_topic(topic)
    if outcome != "admitted" or source is None:
        return None
    scope = scope_of(source.workspace, source.environment)
    return _Head(source.workspace, source.environment, source.stream, scope, topic, topic_id)


@lru_cache(maxsize=4_096)
def _encoded_routes(encoded: str) -> tuple[str, str]:
    """The array as it is in the record, as Latin-1."""
    return _routes(tuple(strings_at(encoded.encode("latin-1"), 0)[0]))


def _all_terms(
    heads: Sequence[_Head], metadata: Sequence[bytes | None], received: Sequence[int], ids: Sequence[str]
) -> list[tuple[int, int, str]]:
    known = [
        () if document is None else _remembered(head.workspace, head.environment, document)
        for head, document in zip(heads, metadata, strict=True)
    ]
    return [
        (term, received_ms, event_id)
        for terms, received_ms, event_id in zip(known, received, ids, strict=True)
        for term in terms
    ]


@lru_cache(maxsize=4_096)
def _stream_topic(name: str) -> StreamTopic | None:
    return parse_stream_topic(name) if len(name) <= KEY_CHARACTERS_MAX and "\x00" not in name else None


@lru_cache(maxsize=4_096)
def _routes(routes: tuple[str, ...]) -> tuple[str, str]:
    """As JSON; and the status of an event that has these before any attempt."""
    return msgspec.json.encode(routes).decode(), str(status_at_first(routes))


def _remembered(workspace: str, environment: str, metadata: bytes) -> tuple[int, ...]:
    """`_terms`, of which long ones are not worth their room."""
    found = _terms if len(metadata) <= METADATA_REMEMBERED_BYTES else _terms.__wrapped__
    return found(workspace, environment, metadata)


@lru_cache(maxsize=4_096)
def _terms(workspace: str, environment: str, metadata: bytes) -> tuple[int, ...]:
    """What can be searched for: what the API takes (A-036). Other things, from who knows where, are only shown."""
    return tuple(term_of(workspace, environment, key, value) for key, value in searchable(json_text(metadata) or "{}"))


def _source(workspace: str, environment: str, actor: str | None) -> int:
    """By which the spine's events are found, beside their metadata."""
    source = plain_text(source_of(actor))[:METADATA_VALUE_CHARACTERS_MAX]
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
    """Decisions about a gateway's records are in the order of these records, on the partition of the same number.

    A record that is decided again (its worker restarted) takes nothing back; a recreated topic starts again.
    """
    before = sources.get(key)
    if before is not None:
        if before.topic_id == topic_id:
            next_offset, log_offset = max(next_offset, before.next_offset), max(log_offset, before.log_offset)
        elif before.log_offset > log_offset:
            return
    sources[key] = SourcePosition(*key, topic_id, next_offset, log_offset)


_METADATA = msgspec.json.Decoder(dict[str, object])
