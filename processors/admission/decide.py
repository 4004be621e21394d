"""What becomes of one event: new, seen before, or in conflict with what its key already stands for. Pure.

A key (or, without one, the event's content) is held for 24 hours of the log's time, per workspace, environment and
surface, across streams (seeds/000, Idempotency keys; DECISIONS, scope of a key). The entry holds the whole decision
and the record that made it: reading that record again repeats the decision and never makes a new one. It also holds
the decision before, since one batch may span a day after an outage: read again, such a batch finds the entry that its
end left, and its first records must still find theirs. (A batch that spans two days and gives one key away three times
is the limit of that.)
"""

import hashlib
from dataclasses import dataclass

import msgspec

KEY_LIFE_MS = 24 * 3_600_000


class Source(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where the record stands that made a decision."""

    topic: str
    topic_id: str
    partition: int
    offset: int


class Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key's entry in the table: the answer that its original got, and what it was about. `before`: the entry that
    it replaced, 24 hours or more older, without its own.
    """

    event_id: str
    payload_hash: bytes
    received_ms: int
    routes: list[str]
    source: Source
    before: "Seen | None" = None


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One record, read and checked. `routes`: the workflows that its stream names now."""

    event_id: str
    payload_hash: bytes
    received_ms: int
    routes: list[str]
    source: Source


@dataclass(frozen=True, slots=True)
class Admitted:
    """The event is let in. `entry` is what its key stands for from now on; `is_new` is False for a record read
    again.
    """

    entry: Seen
    is_new: bool


@dataclass(frozen=True, slots=True)
class Replayed:
    """The same event once more: it gets its original's answer, and nothing else happens."""

    original: Seen


@dataclass(frozen=True, slots=True)
class Conflicted:
    """The key stands for another payload."""

    original: Seen


Decided = Admitted | Replayed | Conflicted


def decide(seen: Seen | None, candidate: Candidate) -> Decided:
    if seen is None or candidate.received_ms - seen.received_ms >= KEY_LIFE_MS:
        return Admitted(_entry(candidate, seen), is_new=True)
    original = _holder(seen, candidate.received_ms)
    if original.source == candidate.source:
        return Admitted(original, is_new=False)
    same = original.payload_hash == candidate.payload_hash
    return Replayed(original) if same else Conflicted(original)


def _entry(candidate: Candidate, seen: Seen | None) -> Seen:
    before = None if seen is None else msgspec.structs.replace(seen, before=None)
    return Seen(
        candidate.event_id, candidate.payload_hash, candidate.received_ms, candidate.routes, candidate.source, before
    )


def _holder(seen: Seen, received_ms: int) -> Seen:
    """Which of the two entries held the key when the record came: the newest, but for a record older than that."""
    before = seen.before
    if before is None or received_ms >= seen.received_ms or received_ms - before.received_ms >= KEY_LIFE_MS:
        return seen
    return before


def table_key(scope: bytes, idempotency_key: str | None, event_id: str) -> bytes:
    """16 bytes that stand for a key in its scope; keys and ids that happen to read alike stay apart."""
    kind, text = (b"i", event_id) if idempotency_key is None else (b"k", idempotency_key)
    return hashlib.blake2b(scope + kind + text.encode(), digest_size=16).digest()


def scope_of(workspace: str, environment: str, surface: str) -> bytes:
    return f"{workspace}\0{environment}\0{surface}\0".encode()
