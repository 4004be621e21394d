"""Brings a table's partition up to its changelog's end before the first batch is decided, or refuses and says why.

A database stores which changelog it follows: the topic's id, and the offset after the last applied record. Where the
changelog was recreated (another id), is shorter than the database, or is gone, the table is never treated as empty: the
worker refuses to start and says what to do (F22, F23). `atlas tables clear` has a database rebuilt.
"""

import base64
import logging
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from rocksdict import Cache

from operations import clock
from operations.cluster_admin import ClusterAdmin
from operations.kafka_clients import code_of, reader_config
from operations.logs import event
from processors.runtime import metrics
from processors.runtime.errors import TableRefused
from processors.runtime.table import STAMP_KEY, ChangelogPosition, TablePartition, TableSpec, unpacked

log = logging.getLogger(__name__)
READ_RECORDS_MAX = 2_000
READ_PACKED_MAX = 2  # of up to 512 KiB each: some thousand entries
_APPLYING = threading.Semaphore(1)
"""RocksDB's Python binding keeps the interpreter's lock while it writes. Partitions that wrote side by side, in large
steps, kept the group's heartbeat from it for longer than the session: the worker lost its lease as it recovered.
"""
STALLED_SECONDS = 60.0
KNOWN_SECONDS = 30.0
ANSWER_SECONDS, ASK_AGAIN_SECONDS = 15.0, 0.1
_NO_LEADER_YET = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})
STALE_MS = 23 * 3_600_000  # below delete.retention.ms, which is 24 h
ACCEPTED_SECONDS = 600.0
SURE_MS = 2 * 3_600_000
LOSS_ACCEPTED = "loss-accepted"


def topic_id_of(admin: ClusterAdmin, topic: str) -> bytes:
    """Kafka's own id of a topic that exists, 16 bytes: a new topic of the same name has another one."""
    return uuid_bytes(str(admin.described(topic, KNOWN_SECONDS).topic_id))


def uuid_bytes(text: str) -> bytes:
    """Kafka writes topic ids in base 64 without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Changelog(NamedTuple):
    """Where the changes of a table are kept: the broker, Kafka's id of the topic, and when the newest record was
    decided with the table (milliseconds; None: none was).

    `note` is called with the number of entries as they are recovered, in the recovering thread, to show progress.
    """

    bootstrap: str
    topic_id: bytes
    newest_decided_ms: Callable[[], int | None]
    note: Callable[[int], None] = lambda entries: None


def open_partition(
    changelog: Changelog, spec: TableSpec, directory: Path, cache: Cache, partition: int
) -> TablePartition:
    """Opens the database and applies what the changelog has beyond it. Blocking: call it in a thread.

    Raises TableRefused.
    """
    started = time.monotonic()
    table = TablePartition(spec, directory / spec.name / str(partition), cache)
    try:
        if must_be_rebuilt(changelog, table, partition):
            table.destroy()
            table = TablePartition(spec, table.directory, cache)
        applied = _recover(changelog, table, partition)
    except BaseException:
        table.close()
        raise
    seconds = time.monotonic() - started
    metrics.TABLE_RECOVERED.labels(spec.name).inc(applied)
    metrics.TABLE_OPEN_SECONDS.labels(spec.name).observe(seconds)
    event(log, "table.opened", table=spec.name, partition=partition, records=applied, seconds=round(seconds, 3))
    return table


def must_be_rebuilt(changelog: Changelog, table: TablePartition, partition: int) -> bool:
    """Whether the database is older than the changelog's tombstones: keys deleted meanwhile would come back (F25). One
    that has everything on the changelog is not old, and one that does not fit is refused: it may be the only copy left.

    Raises TableRefused.
    """
    stored = table.position()
    if stored is None or clock.now_ms() - stored.written_ms < STALE_MS:
        return False
    topic = table.spec.changelog
    consumer = _reader(changelog)
    try:
        low, high = _range_of(consumer, TopicPartition(topic, partition))
    finally:
        consumer.close()
    if start_offset(stored, changelog.topic_id, low, high, clock.now_ms(), partition, table.spec) >= high:
        return False
    event(log, "table.stale", logging.WARNING, table=table.spec.name, directory=str(table.directory))
    return True


def _reader(changelog: Changelog) -> Consumer:
    return Consumer(
        reader_config(changelog.bootstrap, f"recover-{uuid.uuid4().hex}")
        | {"enable.partition.eof": True, "isolation.level": "read_committed", "queued.max.messages.kbytes": 65_536}
    )


def _range_of(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """Its first offset and its end. A topic created a moment ago may have no leader yet."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            found: tuple[int, int] = consumer.get_watermark_offsets(partition, timeout=ANSWER_SECONDS)
            return found
        except KafkaException as error:
            if code_of(error) not in _NO_LEADER_YET or time.monotonic() > deadline:
                raise
        time.sleep(ASK_AGAIN_SECONDS)


def _recover(changelog: Changelog, table: TablePartition, partition: int) -> int:
    topic = table.spec.changelog
    consumer = _reader(changelog)
    try:
        low, high = _range_of(consumer, TopicPartition(topic, partition))
        stored = table.position()
        position = start_offset(stored, changelog.topic_id, low, high, clock.now_ms(), partition, table.spec)
        lasting = table.spec.retention_seconds is None
        if stored is None and lasting and low > 0 and not _loss_is_accepted(table.directory.parent):
            _log_what_is_gone(table, partition, 0, low)
        if position >= high:
            if stored is None:
                _refuse_if_lost(changelog, table, partition)
                table.write({}, high, changelog.topic_id)
            return 0
        consumer.assign([TopicPartition(topic, partition, position)])
        return _apply_until(consumer, table, TopicPartition(topic, partition, position), high, changelog)
    finally:
        consumer.close()


def _log_what_is_gone(table: TablePartition, partition: int, start: int, low: int) -> None:
    """Records may be deleted while they are read, or before, and the client then just goes on behind them (F24). Where
    entries age out that is their end, and said; elsewhere it is a loss: compaction never moves a log's start.
    """
    topic = table.spec.changelog
    if table.spec.retention_seconds is not None:
        facts = {"topic": topic, "partition": partition, "first": start, "behind": low}
        event(log, "table.changelog_cut", logging.WARNING, **facts)
        return
    raise TableRefused(
        f"table {table.spec.name}, partition {partition}: offsets {start} to {low - 1} of the changelog {topic} were "
        f"deleted before this database had them. Restore the topic, or accept the loss with `atlas tables clear "
        f"{table.directory.parents[1].name} --accept-loss`."
    )


def _refuse_if_lost(changelog: Changelog, table: TablePartition, partition: int) -> None:
    """No database and nothing in the changelog: normal for a new installation, and after everything has aged out. But
    where this group has decided younger records, their entries are lost, not old (F22).
    """
    newest_ms = None if _loss_is_accepted(table.directory.parent) else changelog.newest_decided_ms()
    if is_lost(newest_ms, table.spec.retention_seconds, clock.now_ms()):
        raise TableRefused(
            f"table {table.spec.name}, partition {partition}: its database and its changelog "
            f"{table.spec.changelog} are empty, but records up to {newest_ms} (ms) were decided with it. "
            f"Restore one of them, or accept the loss with `atlas tables clear {table.directory.parents[1].name} "
            f"--accept-loss`: keys then count as new."
        )


def _loss_is_accepted(directory: Path) -> bool:
    """`atlas tables clear --accept-loss` counts for the start that follows it, not for a loss days later."""
    accepted = directory / LOSS_ACCEPTED
    return accepted.exists() and time.time() - accepted.stat().st_mtime < ACCEPTED_SECONDS


def is_lost(newest_decided_ms: int | None, retention_seconds: int | None, now_ms: int) -> bool:
    """Whether an empty table must once have had entries that are still alive."""
    if newest_decided_ms is None:
        return False
    return _is_alive(newest_decided_ms, retention_seconds, now_ms)


def _is_alive(appended_ms: int, retention_seconds: int | None, now_ms: int) -> bool:
    """Whether retention can't have removed a record of that time yet; with a margin of an hour for clocks and one for
    stamps.
    """
    return retention_seconds is None or now_ms - appended_ms < retention_seconds * 1000 - SURE_MS


CLEAR = "`atlas tables clear GROUP --accept-loss` (GROUP: the name of this process, such as admission)"


def start_offset(
    stored: ChangelogPosition | None, topic_id: bytes, low: int, high: int, now_ms: int, partition: int, spec: TableSpec
) -> int:
    """Where recovery starts. Raises TableRefused when the database can't be a prefix of this changelog."""
    if stored is None:
        return low
    next_offset, stored_id, written_ms = stored
    topic = spec.changelog
    where = f"table {spec.name}, partition {partition}"
    if stored_id != topic_id:
        raise TableRefused(
            f"{where}: the changelog {topic} is not the topic this database was made from (it was deleted and "
            f"created again). Restore the topic, or accept the loss with {CLEAR}."
        )
    if next_offset > high:
        raise TableRefused(
            f"{where}: the database has applied offset {next_offset - 1}, but the changelog {topic} ends at {high}: "
            f"confirmed records are gone. Restore the topic, or accept the loss with {CLEAR}."
        )
    if next_offset < low and _is_alive(written_ms, spec.retention_seconds, now_ms):
        raise TableRefused(
            f"{where}: offsets {next_offset} to {low - 1} of the changelog {topic} are gone before this database had "
            f"them. To rebuild it from what is left: {CLEAR}."
        )
    return max(next_offset, low)


def _apply_until(
    consumer: Consumer, table: TablePartition, start: TopicPartition, high: int, changelog: Changelog
) -> int:
    """Reads from `start` to `high`. What is written is always a whole prefix of the changelog, or its gap is logged."""
    applied, position = 0, start.offset
    moved_at = time.monotonic()
    at_once = READ_PACKED_MAX if table.spec.is_packed else READ_RECORDS_MAX
    while position < high:
        messages = consumer.consume(at_once, 0.1)
        next_offset = max((_behind(message) for message in messages), default=0)
        if next_offset:
            low, _high = _range_of(consumer, start)  # after reading: nothing was gone by then
            if low > position:
                _log_what_is_gone(table, start.partition, position, low)
            with _APPLYING:
                read = _apply(table, messages, next_offset, changelog.topic_id, is_complete=next_offset >= high)
            changelog.note(read)
            applied += read
            position, moved_at = next_offset, time.monotonic()
        elif time.monotonic() - moved_at > STALLED_SECONDS:
            nothing = f"the changelog {table.spec.changelog} gave nothing for {STALLED_SECONDS} s"
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, nothing))
    return applied


def _behind(message: Message) -> int:
    """The offset after this message; 0 for an error that passes. Raises KafkaException for one that does not."""
    error = message.error()
    if error is None:
        return (message.offset() or 0) + 1
    if error.code() == KafkaError._PARTITION_EOF:
        return message.offset() or 0
    if not error.retriable():
        raise KafkaException(error)
    return 0


def _apply(
    table: TablePartition, messages: list[Message], next_offset: int, topic_id: bytes, *, is_complete: bool
) -> int:
    """Returns the number of entries applied."""
    changes: dict[bytes, bytes | None] = {}
    records = [message for message in messages if message.error() is None]
    read = sum([_take(changes, table.spec, record) for record in records])
    read_to_ms = records[-1].timestamp()[1] if records else 0
    table.write(changes, next_offset, topic_id, None if is_complete else read_to_ms or None)
    return read


def _take(changes: dict[bytes, bytes | None], spec: TableSpec, message: Message) -> int:
    """Adds the entries of one changelog record; returns how many there were."""
    if message.key() == STAMP_KEY:
        return 0
    if not spec.is_packed:
        changes[message.key() or b""] = message.value()
        return 1
    entries = dict(unpacked(message.value() or b""))
    changes.update(entries)
    return len(entries)
