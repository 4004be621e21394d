"""Decides about one event: new, seen before, or in conflict with the event that already has its key.

A key (or, without one, the event's content) is held for 24 hours of the log's time, per workspace, environment and
surface, across streams. The entry holds the whole decision
and the record that made it: reading that record again repeats the decision and never makes a new one. It also holds
the decision before, since one batch may span a day after an outage: read again, such a batch finds the entry that its
end left, and its first records must still find theirs. (A batch that spans two days and gives one key away three times
is the limit of that.)
"""

import hashlib
from typing import ClassVar

import msgspec

from domain.idempotency import KEY_LIFE_MS
from schemas.log_records import SourceRecord

TABLE_KEY_BYTES = 16


class KeyEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key's entry in the table: the answer that its original got, and what it was about. `before`: the entry that
    it replaced, 24 hours or more older, without its own.
    """

    event_id: str
    payload_hash: bytes
    received_ms: int
    routes: list[str]
    source: SourceRecord
    before: "KeyEntry | None" = None


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """The event is let in. `entry` is stored under its key from now on; `is_new` is False for a record read
    again.
    """

    entry: KeyEntry
    is_new: bool
    outcome: ClassVar[str] = "admitted"


class Replayed(msgspec.Struct, frozen=True, gc=False):
    """The same event once more: it gets its original's answer, and nothing else happens."""

    entry: KeyEntry
    outcome: ClassVar[str] = "replay"


class Conflicted(msgspec.Struct, frozen=True, gc=False):
    """The key is already used for another payload, that of `entry`."""

    entry: KeyEntry
    outcome: ClassVar[str] = "conflict"


KeyDecision = Admitted | Replayed | Conflicted


def decide(seen: KeyEntry | None, candidate: KeyEntry) -> KeyDecision:
    """`candidate`: the entry that a record, read and checked, leaves if it is let in; without one before."""
    if seen is None:
        return Admitted(candidate, True)
    if candidate.received_ms - seen.received_ms >= KEY_LIFE_MS:
        before = msgspec.structs.replace(seen, before=None)
        return Admitted(msgspec.structs.replace(candidate, before=before), True)
    original = _holder(seen, candidate.received_ms)
    if original.source == candidate.source:
        return Admitted(original, False)
    same = original.payload_hash == candidate.payload_hash
    return Replayed(original) if same else Conflicted(original)


def _holder(seen: KeyEntry, received_ms: int) -> KeyEntry:
    """Which of the two entries held the key when the record came: the newest, but for a record older than that."""
    before = seen.before
    if before is None or received_ms >= seen.received_ms or received_ms - before.received_ms >= KEY_LIFE_MS:
        return seen
    return before


class KeyScope:
    """Whose keys are the same: one workspace's, environment's and surface's. Makes table keys of them, 16 bytes each;
    keys and ids that happen to read alike stay apart.
    """

    __slots__ = ("_of_ids", "_of_keys")

    def __init__(self, workspace: str, environment: str, surface: str) -> None:
        scope = f"{workspace}\0{environment}\0{surface}\0".encode()
        self._of_ids = hashlib.blake2b(scope + b"i", digest_size=TABLE_KEY_BYTES)
        self._of_keys = hashlib.blake2b(scope + b"k", digest_size=TABLE_KEY_BYTES)

    def table_key(self, idempotency_key: str | None, event_id: str) -> bytes:
        """With a key, the id says nothing."""
        if idempotency_key is None:
            taken_in = self._of_ids.copy()
            taken_in.update(event_id.encode())
        else:
            taken_in = self._of_keys.copy()
            taken_in.update(idempotency_key.encode())
        return taken_in.digest()
