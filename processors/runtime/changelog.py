"""Brings a table's partition up to its changelog's end before the first batch is decided, or refuses and says why.

A table knows its changelog: the topic's id and the offset behind the last applied record stand in the database. A
changelog that was re-created (another id), that is shorter than the database, or that is gone, is never served as an
empty table: the worker refuses to start and names the way out (RELIABILITY F22, F23; `atlas` rebuilds by removing the
table's directory).
"""

import base64
import logging
import time
import uuid
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from rocksdict import Cache

from operations.kafka_clients import reader_config
from operations.logs import event
from processors.runtime import metrics
from processors.runtime.table import TablePartition, TableSpec, unpacked

log = logging.getLogger(__name__)
READ_RECORDS_MAX = 2_000
STALLED_SECONDS = 60.0
OLDEST = -1


class TableRefused(Exception):
    """The database and its changelog do not belong together; the message says what to do."""


def topic_id_of(bootstrap: str, topic: str) -> bytes:
    """Kafka's own id of a topic, 16 bytes: another topic of the same name has another."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    described = admin.describe_topics(TopicCollection([topic]), request_timeout=10)[topic].result(15)
    return uuid_bytes(str(described.topic_id))


def uuid_bytes(text: str) -> bytes:
    """Kafka writes topic ids in base 64 without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def open_partition(
    bootstrap: str, spec: TableSpec, directory: Path, cache: Cache, partition: int, topic_id: bytes
) -> TablePartition:
    """Opens the database and applies what the changelog has beyond it. Blocking: call it in a thread."""
    started = time.monotonic()
    table = TablePartition(spec, directory / spec.name / str(partition), cache)
    try:
        applied = _recover(bootstrap, table, partition, topic_id)
    except BaseException:
        table.close()
        raise
    seconds = time.monotonic() - started
    metrics.TABLE_RECOVERED.labels(spec.name).inc(applied)
    metrics.TABLE_OPEN_SECONDS.labels(spec.name).observe(seconds)
    event(log, "table.opened", table=spec.name, partition=partition, records=applied, seconds=round(seconds, 3))
    return table


def _recover(bootstrap: str, table: TablePartition, partition: int, topic_id: bytes) -> int:
    topic = table.spec.changelog
    consumer = Consumer(
        reader_config(bootstrap, f"recover-{uuid.uuid4().hex}")
        | {"enable.partition.eof": True, "isolation.level": "read_committed", "queued.max.messages.kbytes": 65_536}
    )
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=15)
        position = start_offset(table.position(), topic_id, low, high, topic, partition, table.spec)
        if position >= high:
            if table.position() is None:
                table.write({}, high, topic_id)
            return 0
        consumer.assign([TopicPartition(topic, partition, position)])
        return _apply_until(consumer, table, high, topic_id)
    finally:
        consumer.close()


def start_offset(
    stored: tuple[int, bytes] | None, topic_id: bytes, low: int, high: int, topic: str, partition: int, spec: TableSpec
) -> int:
    """Where recovery starts. Raises TableRefused when the database can't be a prefix of this changelog. Pure."""
    if stored is None:
        return low
    next_offset, stored_id = stored
    where = f"table {spec.name}, partition {partition}"
    if stored_id != topic_id:
        raise TableRefused(
            f"{where}: the changelog {topic} is not the topic this database was made from (it was deleted and "
            f"created again). Restore the topic, or remove the table's directory to accept the loss."
        )
    if next_offset > high:
        raise TableRefused(
            f"{where}: the database has applied offset {next_offset - 1}, but the changelog {topic} ends at {high}: "
            f"confirmed records are gone. Restore the topic, or remove the table's directory to accept the loss."
        )
    if next_offset < low and spec.retention_seconds is None:
        raise TableRefused(
            f"{where}: the changelog {topic} starts at {low}, behind offset {next_offset} that comes next. "
            f"Remove the table's directory: it is then rebuilt from what the changelog still has."
        )
    return max(next_offset, low)


def _apply_until(consumer: Consumer, table: TablePartition, high: int, topic_id: bytes) -> int:
    applied = 0
    moved_at = time.monotonic()
    while True:
        messages = consumer.consume(READ_RECORDS_MAX, 0.1)
        changes: dict[bytes, bytes | None] = {}
        next_offset = 0
        for message in messages:
            error = message.error()
            if error is None:
                applied += _take(changes, table.spec, message)
                next_offset = (message.offset() or 0) + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                next_offset = max(next_offset, message.offset() or 0)
            elif not error.retriable():
                raise KafkaException(error)
        if next_offset:
            table.write(changes, next_offset, topic_id)
            moved_at = time.monotonic()
            if next_offset >= high:
                return applied
        elif time.monotonic() - moved_at > STALLED_SECONDS:
            raise TableRefused(f"table {table.spec.name}: its changelog gave nothing for {STALLED_SECONDS} s")


def _take(changes: dict[bytes, bytes | None], spec: TableSpec, message: Message) -> int:
    """Adds what one changelog record says; how many entries that were."""
    if not spec.is_packed:
        changes[message.key() or b""] = message.value()
        return 1
    entries = dict(unpacked(message.value() or b""))
    changes.update(entries)
    return len(entries)
