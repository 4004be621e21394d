"""Reads projection's topics up to given ends by librdkafka, without Faust: batches of one partition, made into rows."""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from operations.kafka_clients import reader_config, reason_of
from operations.topic_ends import Partition
from processors.projection.changes import Changes
from processors.projection.decide import project

FETCH_RECORDS = 10_000
FETCH_SECONDS = 1.0
BATCH_RECORDS = 1_000
"""The finer batches are, the more of one time come into one transaction."""
AT_ONCE_BYTES = 256 * 1024  # of one partition, before the others are read
SILENT_SECONDS_MAX = 60.0
PartitionOffsets = Mapping[Partition, int]


class RebuildFailed(Exception):
    """The live read model stays as it is; the message says why."""


class LogRead(msgspec.Struct, frozen=True, gc=False):
    """As much of a record as projection looks at. `timestamp`: the broker's append time in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class LogBatch(NamedTuple):
    """Records of one partition that follow each other, and what they change.

    `first_offset`: where they begin (the position says where they end). `first_ms`, `last_ms`: their append times.
    """

    first_offset: int
    first_ms: int
    last_ms: int
    records: int
    changes: Changes


def log_batches(bootstrap: str, begun: PartitionOffsets, ends: PartitionOffsets) -> Iterator[LogBatch]:
    """The records before the given ends, from where reading began. Raises RebuildFailed."""
    for fetched in records_of(bootstrap, begun, ends):
        for position in range(0, len(fetched), BATCH_RECORDS):
            records = fetched[position : position + BATCH_RECORDS]
            first, last = records[0], records[-1]
            yield LogBatch(first.offset, first.timestamp, last.timestamp, len(records), project(records))


def records_of(bootstrap: str, begun: PartitionOffsets, ends: PartitionOffsets) -> Iterator[list[LogRead]]:
    """Of one partition each, until each has come to its end. Raises RebuildFailed."""
    config = reader_config(bootstrap, f"rebuild-{uuid.uuid4().hex}")
    config |= {"fetch.wait.max.ms": 20, "enable.partition.eof": True, "fetch.message.max.bytes": AT_ONCE_BYTES}
    consumer = Consumer(config)
    try:
        consumer.assign([TopicPartition(*tp, begun.get(tp, 0)) for tp in ends])
        yield from _fetched(consumer, ends)
    except KafkaException as error:
        raise RebuildFailed(f"the log can't be read: {reason_of(error)}") from error
    finally:
        consumer.close()


def _fetched(consumer: Consumer, ends: PartitionOffsets) -> Iterator[list[LogRead]]:
    left = dict(ends)
    heard_at = time.monotonic()
    while left:
        first = consumer.poll(FETCH_SECONDS)
        if first is not None:
            heard_at = time.monotonic()
            messages = [first, *consumer.consume(FETCH_RECORDS, 0)]
            yield from _by_partition(messages, ends).values()
            _note_reached(consumer, left, messages)
        elif time.monotonic() - heard_at > SILENT_SECONDS_MAX:
            raise RebuildFailed(f"the log gave nothing for {SILENT_SECONDS_MAX:g} s")


def _note_reached(consumer: Consumer, left: dict[Partition, int], messages: Iterable[Message]) -> None:
    """At the last record before the end, or at the log's own (of a compacted topic the last records may be gone)."""
    reached = {
        (message.topic() or "", message.partition() or 0)
        for message in messages
        if (error := message.error()) is not None and error.code() == KafkaError._PARTITION_EOF
    }
    for position in consumer.position([TopicPartition(*tp) for tp in left]):
        if position.offset >= left[position.topic, position.partition]:
            reached.add((position.topic, position.partition))
    over = [tp for tp in reached if tp in left]
    if over:
        consumer.incremental_unassign([TopicPartition(*tp) for tp in over])
        for tp in over:
            del left[tp]


def _by_partition(messages: Iterable[Message], ends: PartitionOffsets) -> dict[Partition, list[LogRead]]:
    """Without the records behind the given ends."""
    found: dict[Partition, list[LogRead]] = {}
    for message in messages:
        if (error := message.error()) is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            continue
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None and partition is not None and offset is not None
        tp = topic, partition
        if offset < ends[tp]:
            records = found.get(tp)
            if records is None:
                records = found[tp] = []
            records.append(LogRead(topic, partition, offset, message.timestamp()[1], message.key(), message.value()))
    return found
