"""Delivery's durable table: the deliveries that wait, and how far each one has come.

| key | value |
|---|---|
| `d`, delivery id | RetryEntry |
| `p`, delivery id | the delivery's record, as it was on the log |
| `w`, endpoint id, NUL, due time (8 bytes), delivery id | empty; an endpoint's deliveries by due time |
| `q`, endpoint id, NUL, hash of its ordering key (16), sequence (8), delivery id | empty; what has one ordering key |
| `f`, time (8 bytes), delivery id | empty; when an ended delivery may be forgotten |
| `m` | empty; the table was in use here, so an empty changelog can only mean loss |

A disabled endpoint's deliveries are indexed like all others; nothing loads them. A delivery whose id has an entry is
known: another record of it is dropped, so it never has two chains of attempts. The entry of an ended delivery stays for
`ENDED_KEPT_MS`; by then its record's offset has long been committed.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import orjson

from domain.delivery.states import DeliveryState
from domain.tables import CommittedTable, KeyValueTable, ReadableTable

ENDED_KEPT_MS = 3_600_000
SWEPT_AT_ONCE = 500
STAMP = b"m"
ORDERING_KEY = "ordering_key"
_BEHIND = -1
_TIME_BYTES = 8
_encode = msgspec.msgpack.Encoder().encode


class RetryEntry(msgspec.Struct, frozen=True, array_like=True):
    """How far one delivery has come. `attempts`: how many attempts have ended. `first_ms`: when the first one began.
    `due_ms`: when the next one is due; -1 while another delivery with the same ordering key is ahead. `sequence`: the
    order within the key. `ended_ms`: 0 until it has ended.
    """

    endpoint_id: str
    attempts: int
    first_ms: int
    due_ms: int
    sequence: int = 0
    order_key: bytes = b""
    ended_ms: int = 0

    @property
    def state(self) -> DeliveryState | None:
        """WAITING or BEHIND_ORDERING_KEY. None: it has ended; the entry does not say how."""
        if self.ended_ms:
            return None
        return DeliveryState.BEHIND_ORDERING_KEY if self.due_ms == _BEHIND else DeliveryState.WAITING


_ENTRY = msgspec.msgpack.Decoder(RetryEntry)


class Due(NamedTuple):
    """A row of the index by due time."""

    endpoint_id: str
    due_ms: int
    delivery_id: str

    @property
    def key(self) -> bytes:
        return due_prefix(self.endpoint_id) + time_bytes(self.due_ms) + self.delivery_id.encode()


class RetryTable:
    """Changes of one partition. The methods that change a delivery return the rows that came into the index by due
    time: those of the deliveries that are WAITING from now on.
    """

    def __init__(self, table: KeyValueTable) -> None:
        self._table = table

    def store(
        self, delivery_id: str, value: bytes, endpoint_id: str, *, due_ms: int, sequence: int, order_key: bytes = b""
    ) -> list[Due]:
        """Takes in a delivery before its first attempt. One that has an entry already is left as it is."""
        if self._table.get(b"d" + delivery_id.encode()) is not None:
            return []
        self._table.put(b"p" + delivery_id.encode(), value)
        entry = RetryEntry(endpoint_id, 0, 0, due_ms, sequence, order_key)
        if order_key:
            behind = self._first_of_key(endpoint_id, order_key) is not None
            self._table.put(_order_row(entry, delivery_id), b"")
            if behind:
                self._put(delivery_id, msgspec.structs.replace(entry, due_ms=_BEHIND))
                return []
        return self._index(delivery_id, entry)

    def schedule_next(
        self, delivery_id: str, value: bytes, endpoint_id: str, *, attempts: int, first_ms: int, due_ms: int
    ) -> list[Due]:
        """Attempt number `attempts` has ended, and another one is due. An attempt that the entry already counts changes
        nothing.
        """
        before = self.entry(delivery_id)
        if before is None:
            self._table.put(b"p" + delivery_id.encode(), value)
            return self._index(delivery_id, RetryEntry(endpoint_id, attempts, first_ms, due_ms))
        if before.ended_ms or before.attempts >= attempts:
            return []
        self._table.delete(Due(before.endpoint_id, before.due_ms, delivery_id).key)
        after = msgspec.structs.replace(before, attempts=attempts, first_ms=first_ms, due_ms=due_ms)
        return self._index(delivery_id, after)

    def end(self, delivery_id: str, *, attempts: int, now_ms: int) -> list[Due]:
        """The delivery was delivered or is exhausted. The next one of its ordering key is due at once."""
        before = self.entry(delivery_id)
        if before is None or before.ended_ms:
            return []
        identity = delivery_id.encode()
        self._table.delete(b"p" + identity)
        self._table.delete(Due(before.endpoint_id, before.due_ms, delivery_id).key)
        self._put(delivery_id, msgspec.structs.replace(before, attempts=attempts, ended_ms=now_ms))
        self._table.put(b"f" + time_bytes(now_ms) + identity, b"")
        if not before.order_key:
            return []
        self._table.delete(_order_row(before, delivery_id))
        following = self._first_of_key(before.endpoint_id, before.order_key)
        entry = None if following is None else self.entry(following)
        if following is None or entry is None:
            return []
        return self._index(following, msgspec.structs.replace(entry, due_ms=now_ms))

    def sweep(self, now_ms: int) -> int:
        """Forgets some of the deliveries that ended long ago; returns how many."""
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

    def entry(self, delivery_id: str) -> RetryEntry | None:
        return entry_of(self._table, delivery_id)

    def _first_of_key(self, endpoint_id: str, order_key: bytes) -> str | None:
        prefix = _order_prefix(endpoint_id, order_key)
        for key, _ in self._table.scan(prefix):
            return key[len(prefix) + _TIME_BYTES :].decode()
        return None

    def _index(self, delivery_id: str, entry: RetryEntry) -> list[Due]:
        due = Due(entry.endpoint_id, entry.due_ms, delivery_id)
        self._put(delivery_id, entry)
        self._table.put(due.key, b"")
        return [due]

    def _put(self, delivery_id: str, entry: RetryEntry) -> None:
        self._table.put(b"d" + delivery_id.encode(), _encode(entry))


def entry_of(table: ReadableTable, delivery_id: str) -> RetryEntry | None:
    value = table.get(b"d" + delivery_id.encode())
    return None if value is None else _ENTRY.decode(value)


def record_of(table: ReadableTable, delivery_id: str) -> bytes | None:
    """The delivery's record as it was on the log; None if the delivery has ended."""
    return table.get(b"p" + delivery_id.encode())


def first_due_of_each_endpoint(table: CommittedTable) -> Iterator[Due]:
    """One look-up for each endpoint, however many deliveries wait for it."""
    since = b""
    while True:
        for key, _ in table.scan(b"w", since):
            first = _due_of(key)
            break
        else:
            return
        yield first
        since = b"w" + first.endpoint_id.encode() + b"\x01"


def due_of_endpoint(table: CommittedTable, endpoint_id: str, since: bytes) -> Iterator[Due]:
    """An endpoint's deliveries by due time, from the key `since` on."""
    for key, _ in table.scan(due_prefix(endpoint_id), since):
        yield _due_of(key)


def ordering_key_of(event: dict[str, Any]) -> str | None:
    """An ordered workflow gets the events with one ordering key one after another. None: this event has no key.

    `event`: the delivery's Avro `Event`, decoded. A key in the metadata comes before the idempotency key.
    """
    metadata = orjson.loads(event["metadata"]) if event["metadata"] else {}
    named = metadata.get(ORDERING_KEY)
    if named is None:
        key: str | None = event["idempotency_key"]
        return None if key is None else f"key:{key}"
    return f"named:{named}"


def order_hash(ordering_key: str) -> bytes:
    return hashlib.blake2b(ordering_key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def due_prefix(endpoint_id: str) -> bytes:
    return b"w" + endpoint_id.encode() + b"\0"


def time_bytes(time_ms: int) -> bytes:
    return max(0, time_ms).to_bytes(_TIME_BYTES, "big")


def _due_of(key: bytes) -> Due:
    endpoint_id, _, rest = key[1:].partition(b"\0")
    return Due(endpoint_id.decode(), int.from_bytes(rest[:_TIME_BYTES], "big"), rest[_TIME_BYTES:].decode())


def _order_prefix(endpoint_id: str, order_key: bytes) -> bytes:
    return b"q" + endpoint_id.encode() + b"\0" + order_key


def _order_row(entry: RetryEntry, delivery_id: str) -> bytes:
    return _order_prefix(entry.endpoint_id, entry.order_key) + time_bytes(entry.sequence) + delivery_id.encode()
