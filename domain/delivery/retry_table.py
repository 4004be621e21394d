"""Delivery's durable table: what waits for its turn, and how far each delivery has come. Pure, over one partition.

| key | value |
|---|---|
| `d`, delivery id | Entry |
| `p`, delivery id | the delivery's record, as it stood on the log |
| `w`, lane, NUL, due time (8 bytes), delivery id | empty; in the order in which a lane's deliveries are due |
| `q`, lane, NUL, hash of the ordering key (16), sequence (8), delivery id | empty; what has one ordering key |
| `f`, time (8 bytes), delivery id | empty; when an ended delivery may be forgotten |
| `m` | empty; the table was in use here, so an empty changelog can only mean loss |

A lane is an endpoint's id. A disabled endpoint's deliveries stand in its lane like all others; the lane is not served.
A record at or below an entry is dropped, so a delivery that is read again never starts a second chain of attempts; an
ended one's entry stays for `ENDED_KEPT_MS`, by when its record's offset has long been committed.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import msgspec

ENDED_KEPT_MS = 3_600_000
SWEPT_AT_ONCE = 500
STAMP = b"m"
_TIME_BYTES = 8
_encode = msgspec.msgpack.Encoder().encode


class Table(Protocol):
    """One partition of a durable table (processors.runtime.table.TableView)."""

    def get(self, key: bytes) -> bytes | None: ...

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete(self, key: bytes) -> None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]: ...


class Written(Protocol):
    """What is written of it, for reading (processors.runtime.table.TablePartition)."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes, since: bytes = b"") -> Iterator[tuple[bytes, bytes]]: ...


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """`settled`: the number of the last attempt that has ended (0: none was made). `first_ms`: when the first began.

    `due_ms` is when the next one is due, -1 for a delivery behind another one of its `order_key`. `ended_ms` 0: waits.
    """

    lane: str
    settled: int
    first_ms: int
    due_ms: int
    sequence: int = 0
    order_key: bytes = b""
    ended_ms: int = 0


_ENTRY = msgspec.msgpack.Decoder(Entry)
BEHIND = -1


class Due(NamedTuple):
    """A delivery's place in its lane."""

    lane: str
    due_ms: int
    delivery_id: str

    @property
    def key(self) -> bytes:
        return lane_prefix(self.lane) + time_bytes(self.due_ms) + self.delivery_id.encode()


class Waiting:
    """Changes of one partition. What returns places names those that have come into their lane."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def take_in(
        self, delivery_id: str, value: bytes, lane: str, *, due_ms: int, sequence: int, order_key: bytes = b""
    ) -> list[Due]:
        """A delivery of which no attempt was made; one that is known already changes nothing."""
        if self._table.get(b"d" + delivery_id.encode()) is not None:
            return []
        self._table.put(b"p" + delivery_id.encode(), value)
        entry = Entry(lane, 0, 0, due_ms, sequence, order_key)
        if order_key:
            behind = self._head(lane, order_key) is not None
            self._table.put(_queue_key(entry, delivery_id), b"")
            if behind:
                self._put(delivery_id, msgspec.structs.replace(entry, due_ms=BEHIND))
                return []
        return self._place(delivery_id, entry)

    def attempted(
        self, delivery_id: str, value: bytes, lane: str, *, settled: int, first_ms: int, due_ms: int
    ) -> list[Due]:
        """An attempt has ended and another one is due; its place in the lane moves there."""
        before = self.entry(delivery_id)
        if before is None:
            self._table.put(b"p" + delivery_id.encode(), value)
            return self._place(delivery_id, Entry(lane, settled, first_ms, due_ms))
        if before.ended_ms or before.settled >= settled:
            return []
        self._table.delete(Due(before.lane, before.due_ms, delivery_id).key)
        return self._place(
            delivery_id, msgspec.structs.replace(before, settled=settled, first_ms=first_ms, due_ms=due_ms)
        )

    def ended(self, delivery_id: str, *, settled: int, now_ms: int) -> list[Due]:
        """No further attempt: delivered or exhausted. The next of its ordering key is due at once."""
        before = self.entry(delivery_id)
        if before is None or before.ended_ms:
            return []
        identity = delivery_id.encode()
        self._table.delete(b"p" + identity)
        self._table.delete(Due(before.lane, before.due_ms, delivery_id).key)
        self._put(delivery_id, msgspec.structs.replace(before, settled=settled, ended_ms=now_ms))
        self._table.put(b"f" + time_bytes(now_ms) + identity, b"")
        if not before.order_key:
            return []
        self._table.delete(_queue_key(before, delivery_id))
        following = self._head(before.lane, before.order_key)
        entry = None if following is None else self.entry(following)
        if following is None or entry is None:
            return []
        return self._place(following, msgspec.structs.replace(entry, due_ms=now_ms))

    def sweep(self, now_ms: int) -> int:
        """Forgets some of those that ended long ago; how many."""
        until = b"f" + time_bytes(max(0, now_ms - ENDED_KEPT_MS))
        old: list[bytes] = []
        for key, _ in self._table.scan(b"f"):
            if key >= until or len(old) == SWEPT_AT_ONCE:
                break
            old.append(key)
        for key in old:
            self._table.delete(key)
            self._table.delete(b"d" + key[1 + _TIME_BYTES :])
        return len(old)

    def entry(self, delivery_id: str) -> Entry | None:
        return entry_of(self._table, delivery_id)

    def _head(self, lane: str, order_key: bytes) -> str | None:
        """The first of those with this ordering key."""
        prefix = _queue_prefix(lane, order_key)
        for key, _ in self._table.scan(prefix):
            return key[len(prefix) + _TIME_BYTES :].decode()
        return None

    def _place(self, delivery_id: str, entry: Entry) -> list[Due]:
        due = Due(entry.lane, entry.due_ms, delivery_id)
        self._put(delivery_id, entry)
        self._table.put(due.key, b"")
        return [due]

    def _put(self, delivery_id: str, entry: Entry) -> None:
        self._table.put(b"d" + delivery_id.encode(), _encode(entry))


class _Readable(Protocol):
    def get(self, key: bytes) -> bytes | None: ...


def entry_of(table: _Readable, delivery_id: str) -> Entry | None:
    value = table.get(b"d" + delivery_id.encode())
    return None if value is None else _ENTRY.decode(value)


def record_of(table: _Readable, delivery_id: str) -> bytes | None:
    """The delivery's record as it stood on the log; None for one that has ended."""
    return table.get(b"p" + delivery_id.encode())


def lanes_of(table: Written) -> Iterator[Due]:
    """The first place of each lane: one look-up a lane, however many wait in it."""
    since = b""
    while True:
        for key, _ in table.scan(b"w", since):
            first = _due_of(key)
            break
        else:
            return
        yield first
        since = b"w" + first.lane.encode() + b"\x01"


def in_lane(table: Written, lane: str, since: bytes) -> Iterator[Due]:
    """A lane's places in order, from the key `since` on."""
    for key, _ in table.scan(lane_prefix(lane), since):
        yield _due_of(key)


def order_hash(ordering_key: str) -> bytes:
    return hashlib.blake2b(ordering_key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def lane_prefix(lane: str) -> bytes:
    return b"w" + lane.encode() + b"\0"


def time_bytes(time_ms: int) -> bytes:
    return max(0, time_ms).to_bytes(_TIME_BYTES, "big")


def _due_of(key: bytes) -> Due:
    lane, _, rest = key[1:].partition(b"\0")
    return Due(lane.decode(), int.from_bytes(rest[:_TIME_BYTES], "big"), rest[_TIME_BYTES:].decode())


def _queue_prefix(lane: str, order_key: bytes) -> bytes:
    return b"q" + lane.encode() + b"\0" + order_key


def _queue_key(entry: Entry, delivery_id: str) -> bytes:
    return _queue_prefix(entry.lane, entry.order_key) + time_bytes(entry.sequence) + delivery_id.encode()
