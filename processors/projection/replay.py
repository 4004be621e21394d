"""Reads projection's topics up to given ends and writes them into a read model that nobody else writes.

By librdkafka and a thread, without Faust: what is read is made into rows while what was read before is written.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from operations.kafka_clients import reader_config
from processors.projection.changes import Changes
from processors.projection.decide import project
from processors.projection.projectors import PROJECTORS
from processors.projection.store import RowsRefused, Store
from schemas.topics import Topic

FETCH_RECORDS = 10_000
FETCH_SECONDS = 1.0
SILENT_SECONDS_MAX = 60.0
Positions = Mapping[tuple[str, int], int]


class RebuildFailed(Exception):
    """The live read model stays as it is; the message says why."""


class LogRead(NamedTuple):
    """As much of a record as projection looks at."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def replay(bootstrap: str, store: Store, ends: Positions) -> int:
    """Reads each partition on from where the store is to its end, and writes it; how many records that were.

    Outcomes first, then decisions: so each event is written once, with the status that its attempts gave it. What is
    read is made into rows while a thread writes what was read before.
    """
    begun, there = store.positions(), ends_of(bootstrap)  # of some partitions retention may have left nothing
    left = {tp: end for tp, end in ends.items() if begun.get(tp, 0) < end and tp in there}
    first = {tp: end for tp, end in left.items() if tp[0] == Topic.OUTCOMES}
    rest = {tp: end for tp, end in left.items() if tp not in first}
    try:
        return sum(_replayed(bootstrap, store, begun, part) for part in (first, rest) if part)
    except KafkaException as error:
        raise RebuildFailed(f"the log can't be read: {error}") from error


def _replayed(bootstrap: str, store: Store, begun: Positions, ends: Positions) -> int:
    config = reader_config(bootstrap, f"rebuild-{uuid.uuid4().hex}")
    consumer = Consumer(config | {"fetch.wait.max.ms": 20, "enable.partition.eof": True})
    records = 0
    written: Future[int] | None = None
    try:
        consumer.assign([TopicPartition(*tp, begun.get(tp, 0)) for tp in ends])
        with ThreadPoolExecutor(1, thread_name_prefix="rebuild") as writer:
            for batches in _batches(consumer, ends):
                changes = [project(batch) for batch in batches]
                records += written.result() if written is not None else 0
                written = writer.submit(_written, store, batches, changes)
            return records + (written.result() if written is not None else 0)
    finally:
        consumer.close()


def ends_of(bootstrap: str) -> dict[tuple[str, int], int]:
    """Where each partition of projection's topics ends now; those that never had a record are left out."""
    consumer = Consumer(reader_config(bootstrap, f"rebuild-{uuid.uuid4().hex}"))
    try:
        ends = {}
        for topic in PROJECTORS:
            for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                if high > low:
                    ends[str(topic), partition] = high
        return ends
    except KafkaException as error:
        raise RebuildFailed(f"the log can't be read: {error}") from error
    finally:
        consumer.close()


def _batches(consumer: Consumer, ends: Positions) -> Iterator[list[list[LogRead]]]:
    """What stands before the ends, a list a partition; until each partition has come to its end."""
    left = dict(ends)
    heard_at = time.monotonic()
    while left:
        first = consumer.poll(FETCH_SECONDS)
        if first is not None:
            heard_at = time.monotonic()
            messages = [first, *consumer.consume(FETCH_RECORDS, 0)]
            found = _by_partition(messages, ends)
            if found:
                yield list(found.values())
            _note_reached(consumer, left, messages)
        elif time.monotonic() - heard_at > SILENT_SECONDS_MAX:
            raise RebuildFailed(f"the log gave nothing for {SILENT_SECONDS_MAX:g} s")


def _note_reached(consumer: Consumer, left: dict[tuple[str, int], int], messages: Iterable[Message]) -> None:
    """At the last record before the end, or at the log's own (of a compacted topic the last records may be gone)."""
    reached = {
        (message.topic() or "", message.partition() or 0)
        for message in messages
        if (error := message.error()) is not None and error.code() == KafkaError._PARTITION_EOF
    }
    for place in consumer.position([TopicPartition(*tp) for tp in left]):
        if place.offset >= left[place.topic, place.partition]:
            reached.add((place.topic, place.partition))
    over = [tp for tp in reached if tp in left]
    if over:
        consumer.incremental_unassign([TopicPartition(*tp) for tp in over])
        for tp in over:
            del left[tp]


def _by_partition(messages: Iterable[Message], ends: Positions) -> dict[tuple[str, int], list[LogRead]]:
    """Without what stands behind the ends."""
    found: dict[tuple[str, int], list[LogRead]] = {}
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
            records.append(LogRead(topic, partition, offset, message.key(), message.value()))
    return found


def _written(store: Store, batches: Sequence[Sequence[LogRead]], changes: Sequence[Changes]) -> int:
    try:
        store.apply(changes)
    except RowsRefused:
        for records in batches:
            store.apply([project(records, without=store.refused(records, project))])
    return sum(len(records) for records in batches)
