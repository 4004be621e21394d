"""Reads records back by their positions: the payloads of events, which only the log holds.

A consumer of librdkafka that has known a topic reads nothing of a topic that was recreated under its name, and reports
no error (confluent-kafka-python#1787; 2.16.1). So a consumer that was used before and stays silent is replaced by a new
one, and so is one that failed. A broker that knows no such topic is not believed either: it may be the only one
(gone_topics.py).
"""

import asyncio
import queue
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from operations.gone_topics import is_gone
from operations.kafka_clients import UNKNOWN_TOPIC, library_log, reader_config
from operations.message_headers import headers_of
from schemas.log_records import Headers, RecordPosition

READERS = 2
GONE = frozenset({KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET})
SILENCE_SECONDS = 0.5  # librdkafka waits for a topic that does not exist; after so long we ask
FETCH_BYTES = 64 * 1024  # a larger record still comes whole; the ones after it are not wanted


GAP_RECORDS_MAX = 64  # read and dropped rather than fetched separately
ROUND_RECORDS = 500


class StoredRecord(NamedTuple):
    """A record as it is on the log."""

    value: bytes
    headers: Headers = ()


Read = TypeVar("Read")


class RecordUnreachable(Exception):
    """The log could not be read in time."""


class _Silent(Exception):
    """No record arrives, though the topic exists."""


class RecordReader:
    """A few consumers, made when first needed, each reading one record at a time in a thread. `await close()`."""

    def __init__(self, bootstrap: str, readers: int = READERS) -> None:
        self._bootstrap = bootstrap
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="record-reader")
        self._idle: queue.SimpleQueue[Consumer] = queue.SimpleQueue()

    async def read(self, topic: str, partition: int, offset: int, timeout_seconds: float) -> StoredRecord | None:
        """The record; None where it is gone (retention, a deleted topic). Raises RecordUnreachable."""
        position = TopicPartition(topic, partition, offset)
        deadline = time.monotonic() + timeout_seconds
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, position, deadline)

    async def read_many(
        self, positions: Collection[RecordPosition], timeout_seconds: float
    ) -> dict[RecordPosition, StoredRecord | None]:
        """The same for many records, all partitions at once. Raises RecordUnreachable."""
        deadline = time.monotonic() + timeout_seconds
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, self._with_consumer, partial(_values_at, positions=positions, deadline=deadline)
        )

    async def first_records(
        self, begins: Mapping[tuple[str, int], int], timeout_seconds: float
    ) -> dict[tuple[str, int], int | None]:
        """The offset of each partition's first record at or behind an offset; None where none can be read now: there is
        none, those that there were were taken back with their transaction, or theirs is still open. Raises
        RecordUnreachable.
        """
        deadline = time.monotonic() + timeout_seconds
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, self._with_consumer, partial(_first_records, begins=begins, deadline=deadline)
        )

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)
        while not self._idle.empty():
            self._idle.get().close()

    def _read(self, position: TopicPartition, deadline: float) -> StoredRecord | None:
        return self._with_consumer(partial(_value_at, position=position, deadline=deadline))

    def _with_consumer(self, read: Callable[["_Reading"], Read]) -> Read:
        try:
            consumer, is_new = self._idle.get_nowait(), False
        except queue.Empty:
            consumer, is_new = self._new_consumer(), True
        try:
            try:
                found = read(_Reading(consumer, is_new, self._bootstrap))
            except _Silent:
                consumer.close()
                consumer = self._new_consumer()
                found = read(_Reading(consumer, True, self._bootstrap))
            consumer.unassign()  # else it would go on fetching what follows
        except KafkaException as error:
            consumer.close()
            raise RecordUnreachable(str(error)) from error
        except RecordUnreachable:
            consumer.close()
            raise
        self._idle.put(consumer)
        return found

    def _new_consumer(self) -> Consumer:
        config = reader_config(self._bootstrap, f"record-reader-{uuid.uuid4().hex}")
        return Consumer(
            config
            | {
                "auto.offset.reset": "error",  # a position that is gone is an answer, not a reason to read another
                "enable.partition.eof": True,
                "fetch.message.max.bytes": FETCH_BYTES,
                "logger": library_log("record-reader"),
            }
        )


class _Reading(NamedTuple):
    """A consumer at work. `is_new`: it has never been used, so that its silence is the log's."""

    consumer: Consumer
    is_new: bool
    bootstrap: str

    def is_gone(self, topic: str, deadline: float) -> bool:
        """Raises KafkaException."""
        left_seconds = max(0.001, deadline - time.monotonic())
        metadata = self.consumer.list_topics(topic, timeout=left_seconds)
        error = metadata.topics[topic].error
        if error is None or error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            return False
        return len(metadata.brokers) == 1 or is_gone(self.bootstrap, topic, max(0.001, deadline - time.monotonic()))

    def gone(self, topics: Collection[str], deadline: float) -> set[str]:
        """Raises KafkaException."""
        return {topic for topic in topics if self.is_gone(topic, deadline)}


def _value_at(reading: _Reading, position: TopicPartition, deadline: float) -> StoredRecord | None:
    reading.consumer.assign([position])
    while (left_seconds := deadline - time.monotonic()) > 0:
        message = reading.consumer.poll(min(left_seconds, SILENCE_SECONDS))
        error = None if message is None else message.error()
        if message is None or (error is not None and error.code() in UNKNOWN_TOPIC):
            if reading.is_gone(position.topic, deadline):
                return None
            if not reading.is_new:
                raise _Silent
        elif error is None:
            if message.offset() != position.offset:
                return None
            return StoredRecord(message.value() or b"", headers_of(message))
        elif error.code() in GONE:
            return None
    raise RecordUnreachable(f"{position.topic}[{position.partition}] was not readable in time")


def _values_at(
    reading: _Reading, positions: Collection[RecordPosition], deadline: float
) -> dict[RecordPosition, StoredRecord | None]:
    """In rounds: each reads a run of near records of every partition; what is far from its run waits for the next."""
    found: dict[RecordPosition, StoredRecord | None] = {}
    left: dict[tuple[str, int], list[int]] = {}
    for topic, partition, offset in sorted(set(positions)):
        left.setdefault((topic, partition), []).append(offset)
    while left:
        runs = {tp: _first_run(offsets) for tp, offsets in left.items()}
        for tp, run in runs.items():
            left[tp] = left[tp][len(run) :]
        left = {tp: offsets for tp, offsets in left.items() if offsets}
        _read_runs(reading, runs, found, deadline)
    return found


def _first_run(offsets: list[int]) -> list[int]:
    for index in range(1, len(offsets)):
        if offsets[index] - offsets[index - 1] > GAP_RECORDS_MAX:
            return offsets[:index]
    return offsets


def _read_runs(
    reading: _Reading,
    runs: dict[tuple[str, int], list[int]],
    found: dict[RecordPosition, StoredRecord | None],
    deadline: float,
) -> None:
    consumer = reading.consumer
    consumer.assign([TopicPartition(*tp, run[0]) for tp, run in runs.items()])
    open_runs = {tp: set(run) for tp, run in runs.items()}
    ends = {tp: run[-1] for tp, run in runs.items()}

    def end(tp: tuple[str, int]) -> None:
        for offset in open_runs.pop(tp, ()):
            found[*tp, offset] = None
        consumer.incremental_unassign([TopicPartition(*tp)])

    while open_runs:
        left_seconds = deadline - time.monotonic()
        if left_seconds <= 0:
            raise RecordUnreachable(f"{len(open_runs)} partitions were not readable in time")
        first = consumer.poll(min(left_seconds, SILENCE_SECONDS))
        if first is None:
            gone_topics = reading.gone({topic for topic, _ in open_runs}, deadline)
            for tp in [tp for tp in open_runs if tp[0] in gone_topics]:
                end(tp)
            if open_runs and not reading.is_new:
                raise _Silent
            continue
        for message in (first, *consumer.consume(ROUND_RECORDS, 0)):
            tp = (message.topic() or "", message.partition() or 0)
            wanted = open_runs.get(tp)
            if wanted is None:
                continue
            error = message.error()
            offset = message.offset() or 0
            if error is None and offset in wanted:
                wanted.discard(offset)
                found[*tp, offset] = StoredRecord(message.value() or b"", headers_of(message))
            elif error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET and len(wanted) > 1:
                wanted.discard(gone := min(wanted))  # retention took the first; the next may still be there
                found[*tp, gone] = None
                consumer.incremental_unassign([TopicPartition(*tp)])
                consumer.incremental_assign([TopicPartition(*tp, min(wanted))])
                continue
            is_over = offset >= ends[tp] if error is None else _is_over(error, reading, tp[0], deadline)
            if is_over or not wanted:
                end(tp)


def _first_records(
    reading: _Reading, begins: Mapping[tuple[str, int], int], deadline: float
) -> dict[tuple[str, int], int | None]:
    consumer = reading.consumer
    consumer.assign([TopicPartition(*tp, begin) for tp, begin in begins.items()])
    found: dict[tuple[str, int], int | None] = {}
    while len(found) < len(begins):
        left_seconds = deadline - time.monotonic()
        if left_seconds <= 0:
            raise RecordUnreachable(f"{len(begins) - len(found)} partitions were not readable in time")
        message = consumer.poll(min(left_seconds, SILENCE_SECONDS))
        if message is None:
            missing = begins.keys() - found.keys()
            gone = reading.gone({topic for topic, _ in missing}, deadline)
            found |= {tp: None for tp in missing if tp[0] in gone}
            if len(found) < len(begins) and not reading.is_new:
                raise _Silent
            continue
        tp = (message.topic() or "", message.partition() or 0)
        error = message.error()
        if tp in found or tp not in begins:
            continue
        if error is None:
            found[tp] = message.offset()
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # retention took the first
            consumer.incremental_unassign([TopicPartition(*tp)])
            consumer.incremental_assign([TopicPartition(*tp, OFFSET_BEGINNING)])
            continue
        elif _is_over(error, reading, tp[0], deadline):
            found[tp] = None
        else:
            continue
        consumer.incremental_unassign([TopicPartition(*tp)])
    return found


def _is_over(error: KafkaError, reading: _Reading, topic: str, deadline: float) -> bool:
    """Whether nothing of the partition comes any more. Raises KafkaException."""
    return error.code() in GONE or (error.code() in UNKNOWN_TOPIC and reading.is_gone(topic, deadline))
