"""Reads projection's topics up to given ends and writes them into a read model that nobody else writes.

Without Faust: what is read is made into rows while a thread writes what was read before. Where there is much to read,
other processes read and decode (decoding.py), so that this one only writes.
"""

import os
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from confluent_kafka import Consumer, KafkaException, TopicPartition

from operations.kafka_clients import reader_config, reason_of
from operations.topic_ends import Partition
from processors.projection.decide import project
from processors.projection.decoding import decoded
from processors.projection.log_batches import (
    LogBatch,
    PartitionOffsets,
    RebuildFailed,
    log_batches,
    records_of,
)
from processors.projection.projectors import PROJECTORS
from processors.projection.store import RowsRefused, Store
from schemas.topics import Topic

TRANSACTION_RECORDS = 100_000
MANY_RECORDS = 200_000
"""Starting processes takes as long as reading some tens of thousands."""


def replay(bootstrap: str, store: Store, ends: PartitionOffsets) -> int:
    """Reads each partition on from where the store is to its end, and writes it; how many records that were.

    Outcomes before the decisions of their time: so most events are written once, with the status that their attempts
    gave them. Raises RebuildFailed, DatabaseAway.
    """
    begun, there = store.positions(), ends_of(bootstrap)  # of some partitions retention may have left nothing
    left = {tp: end for tp, end in ends.items() if begun.get(tp, 0) < end and tp in there}
    outcomes = {tp: end for tp, end in left.items() if tp[0] == Topic.OUTCOMES}
    rest = {tp: end for tp, end in left.items() if tp not in outcomes}
    records = sum(end - begun.get(tp, 0) for tp, end in left.items())
    if records >= MANY_RECORDS and (os.cpu_count() or 1) > 1:
        batches = decoded(bootstrap, begun, outcomes, rest)
    else:
        batches = _here(bootstrap, begun, outcomes, rest)
    with closing(batches):
        return _write(bootstrap, store, batches)


def _here(bootstrap: str, begun: PartitionOffsets, *parts: PartitionOffsets) -> Generator[LogBatch, None, None]:
    for part in parts:
        if part:
            yield from log_batches(bootstrap, begun, part)


def ends_of(bootstrap: str) -> dict[Partition, int]:
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
        raise RebuildFailed(f"the log can't be read: {reason_of(error)}") from error
    finally:
        consumer.close()


def _write(bootstrap: str, store: Store, batches: Iterable[LogBatch]) -> int:
    records = 0
    written: Future[int] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="rebuild") as writer:
        for group in _transactions(batches):
            records += written.result() if written is not None else 0
            written = writer.submit(_written, bootstrap, store, group)
        return records + (written.result() if written is not None else 0)


def _transactions(batches: Iterable[LogBatch]) -> Iterator[list[LogBatch]]:
    group: list[LogBatch] = []
    records = 0
    for batch in batches:
        group.append(batch)
        records += batch.records
        if records >= TRANSACTION_RECORDS:
            yield group
            group, records = [], 0
    if group:
        yield group


def _written(bootstrap: str, store: Store, group: Sequence[LogBatch]) -> int:
    try:
        store.apply([batch.changes for batch in group])
    except RowsRefused:
        for batch in group:
            _leave_out_refused(bootstrap, store, batch)
    return sum(batch.records for batch in group)


def _leave_out_refused(bootstrap: str, store: Store, batch: LogBatch) -> None:
    """By the records themselves, which are read once more."""
    topic, partition, end = batch.changes.position
    tp = topic, partition
    for records in records_of(bootstrap, {tp: batch.first_offset}, {tp: end}):
        store.apply([project(records, without=store.refused(records, project))])
