"""Durable tables: RocksDB beside the worker, the changelog topic as their truth.

A partition of a table belongs to the owner of the same partition of the agent's topics. A batch works on a
`TableView`: reads go to the database, changes are collected; `publish` sends them to the changelog, and once the
broker has confirmed them `apply` writes them as ONE RocksDB WriteBatch together with the changelog offset. So state
and offset are one atomic thing, and a database is never ahead of its changelog.

With `retention_seconds` entries age out by themselves: locally by RocksDB's TTL, in the changelog by deletion. A
decision must not rely on the moment of that: what an entry means is decided by the log's time in it (RELIABILITY F33).
"""

import contextlib
import heapq
import shutil
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
from rocksdict import AccessType, BlockBasedOptions, Cache, DbClosedError, Options, Rdict, WriteBatch, WriteOptions

from operations import clock
from processors.runtime.outbox import OutboxBatch

KEY_PREFIX = b"k"
META_KEY = b"meta"
PACKED_KEY = b"packed"
STAMP_KEY = b"\x00stamp"
STAMP_EVERY_MS = 3_600_000
PACKED_BYTES_MAX = 512 * 1024
_META = struct.Struct(">q16sq")
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes | None]).decode
STAMP_VALUE = _pack([])  # read as a packed record it changes nothing
LOCK_WAIT_SECONDS = 20.0
BLOCK_CACHE_BYTES = 64 * 1024 * 1024
WRITE_BUFFER_BYTES = 16 * 1024 * 1024
MEMTABLE_BLOOM_RATIO = 0.05


@dataclass(frozen=True)
class TableSpec:
    """`changelog` is the topic's name; `retention_seconds` None: entries live until deleted (compacted only)."""

    name: str
    changelog: str
    retention_seconds: int | None = None

    @property
    def is_packed(self) -> bool:
        """Whether a changelog record holds many changes: where entries only age out, nothing is compacted by key."""
        return self.retention_seconds is not None

    def topic_config(self) -> dict[str, str]:
        base = {"message.timestamp.type": "LogAppendTime", "min.cleanable.dirty.ratio": "0.2"}
        if self.retention_seconds is None:
            return base | {"cleanup.policy": "compact"}
        milliseconds = str(self.retention_seconds * 1000)
        return base | {"cleanup.policy": "delete", "retention.ms": milliseconds, "segment.ms": "3600000"}


class TableRefused(Exception):
    """A table can't be served as it is; the message says what to do."""


class Position(NamedTuple):
    """How far a database has followed its changelog: the offset behind the last applied record, and of which topic."""

    next_offset: int
    topic_id: bytes
    written_ms: int


class TablePartition:
    """One partition's database. Not thread-safe: the agent's loop reads and writes it; recovery happens before."""

    def __init__(self, spec: TableSpec, directory: Path, cache: Cache) -> None:
        """Raises TableRefused when another process holds the database for long, or when it is damaged."""
        directory.mkdir(parents=True, exist_ok=True)
        self.spec = spec
        self.directory = directory
        self._db = _opened(directory, spec, cache)
        self._write_options = WriteOptions()
        self.published_ms = 0

    def position(self) -> Position | None:
        """None for a new database."""
        stored = self._db.get(META_KEY)
        return None if stored is None else Position(*_META.unpack(stored))

    def is_next(self, offset: int) -> bool:
        """Whether everything before this offset of the changelog is applied."""
        stored = self.position()
        return (0 if stored is None else stored.next_offset) == offset

    def get(self, key: bytes) -> bytes | None:
        value = self._db.get(KEY_PREFIX + key)
        return value if value is None else bytes(value)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """In the keys' order; a third of the time of asking one by one."""
        found: Any = self._db.get([KEY_PREFIX + key for key in keys])
        return cast(list[bytes | None], found)

    def scan(self, prefix: bytes, since: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Ascending keys with that prefix, from `since` on. Raises when a block is damaged: RocksDB's iterator just
        ends there.
        """
        start = KEY_PREFIX + prefix
        rows = self._db.iter()
        rows.seek(KEY_PREFIX + max(prefix, since))
        while rows.valid():
            key: bytes = rows.key()
            if not key.startswith(start):
                return
            yield key[len(KEY_PREFIX) :], rows.value()
            rows.next()
        rows.status()

    def write(
        self,
        changes: dict[bytes, bytes | None],
        next_offset: int,
        topic_id: bytes,
        complete_ms: int | None = None,
    ) -> None:
        """Applies changes (None deletes) and the changelog position in one atomic write. `complete_ms`: up to when the
        database then has all that the changelog said (now, unless given).
        """
        written_ms = clock.now_ms() if complete_ms is None else complete_ms
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        for key, value in changes.items():
            if value is None:
                batch.delete(KEY_PREFIX + key)
            else:
                put(KEY_PREFIX + key, value)
        batch.put(META_KEY, _META.pack(next_offset, topic_id, written_ms))
        self._db.write(batch, self._write_options)

    def close(self) -> None:
        """Closed twice is as good: who opens another in its place may fail, and closes what was there."""
        with contextlib.suppress(DbClosedError):
            self._db.close()

    def destroy(self) -> None:
        """Closes and removes the database; the changelog rebuilds it."""
        self._db.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class TableView:
    """A batch's view of its partition: what was committed, and this batch's own changes on top."""

    __slots__ = ("_changes", "_known", "_partition", "_published", "_topic_id")

    def __init__(self, partition: TablePartition, topic_id: bytes) -> None:
        self._partition = partition
        self._topic_id = topic_id
        self._changes: dict[bytes, bytes | None] = {}
        self._known: dict[bytes, bytes | None] = {}
        self._published = False

    def prefetch(self, keys: list[bytes]) -> None:
        """Asks the database for all of these at once, for `get`."""
        if keys:
            self._known.update(zip(keys, self._partition.get_many(keys), strict=True))
            self._known.update(self._changes)

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._known[key]
        except KeyError:
            return self._partition.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self._changes[key] = self._known[key] = value

    def delete(self, key: bytes) -> None:
        self._changes[key] = self._known[key] = None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Ascending keys with that prefix, this batch's changes until now included; read as it is iterated."""
        staged = {key: value for key, value in self._changes.items() if key.startswith(prefix)}
        written = self._partition.scan(prefix)
        rows = heapq.merge(written, sorted(staged.items()), key=lambda row: row[0]) if staged else written
        last = None
        for key, value in rows:
            if key != last:  # `merge` is stable: of a key that is in both, the written one comes first
                last = key
                current = staged.get(key, value)
                if current is not None:
                    yield key, current

    def publish(self, out: OutboxBatch, partition: int) -> None:
        """A batch that changes nothing leaves a stamp once an hour: so where records were decided, a changelog is never
        empty by right, and an empty one means loss (RELIABILITY F22).
        """
        spec = self._partition.spec
        records: Iterable[tuple[bytes, bytes | None]]
        records = packed(self._changes) if spec.is_packed else self._changes.items()
        now_ms = clock.now_ms()
        if not self._changes and abs(now_ms - self._partition.published_ms) >= STAMP_EVERY_MS:
            records = [(STAMP_KEY, STAMP_VALUE)]
        for key, value in records:
            out.produce(spec.changelog, value, key=key, partition=partition, is_changelog=True)
            self._published = True
        if self._published:
            self._partition.published_ms = now_ms

    def apply(self, out: OutboxBatch) -> None:
        """Only after `out` is confirmed. A stamp alone moves the position only where it stands next: before it may
        stand what another agent of the process has published, and not applied yet.
        """
        if not self._published:
            return
        next_offset = out.changelog_end[self._partition.spec.changelog]
        if self._changes or self._partition.is_next(next_offset - 1):
            self._partition.write(self._changes, next_offset, self._topic_id)


def _opened(directory: Path, spec: TableSpec, cache: Cache) -> Rdict:
    """A twin that is still dying is waited for (RELIABILITY F26); a damaged file is named (F27)."""
    lives = spec.retention_seconds
    access = AccessType.read_write() if lives is None else AccessType.with_ttl(lives)
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            options = _options(cache)
            # Named, or rocksdict takes the family's options from the database: without our cache, and with the filter
            # of each TTL before inside the next one, which reads the end of a value as its age and drops what lives.
            return Rdict(str(directory), options, column_families={"default": options}, access_type=access)
        except Exception as error:  # rocksdict has no exceptions of its own
            if not is_held(str(error)):
                raise TableRefused(
                    f"table {spec.name}: its database is damaged ({error}). It is removed by "
                    f"`atlas tables clear {directory.parents[1].name}` and rebuilt at the next start."
                ) from error
            if time.monotonic() > deadline:
                raise TableRefused(
                    f"table {spec.name}: another process has held {directory} for {LOCK_WAIT_SECONDS:.0f} s. "
                    f"Is the same worker running twice?"
                ) from error
            time.sleep(0.2)


def is_held(error: str) -> bool:
    """Whether RocksDB says that a process has the database: it then names the file LOCK. That the word occurs is not
    enough: a damaged file's message is "block checksum mismatch".
    """
    return "/LOCK:" in error


def packed(changes: dict[bytes, bytes | None]) -> Iterator[tuple[bytes, bytes]]:
    """Changelog records that hold many changes each: MessagePack of keys and values in turn (nil: deleted)."""
    some: list[bytes | None] = []
    size = 0
    for key, value in changes.items():
        some += (key, value)
        size += len(key) + (0 if value is None else len(value))
        if size >= PACKED_BYTES_MAX:
            yield PACKED_KEY, _pack(some)
            some, size = [], 0
    if some:
        yield PACKED_KEY, _pack(some)


def unpacked(value: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """The changes of one packed record, in order."""
    flat = _unpack(value)
    return zip(flat[::2], flat[1::2], strict=True)  # type: ignore[arg-type]


def shared_cache() -> Cache:
    """One block cache for all partitions of a process, so that memory stays bounded however many it owns."""
    return Cache(BLOCK_CACHE_BYTES)


def _options(cache: Cache) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_open_files(64)
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO)  # tells that a key is new, as most are
    options.set_memtable_whole_key_filtering(True)
    options.set_allow_concurrent_memtable_write(False)  # one batch at a time writes
    options.set_keep_log_file_num(2)
    block = BlockBasedOptions()
    block.set_block_cache(cache)
    block.set_bloom_filter(10, False)
    block.set_cache_index_and_filter_blocks(True)
    options.set_block_based_table_factory(block)
    return options
