"""Reads single records back by their position: the payload of an event, which only the log holds."""

import asyncio
import logging
import queue
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from operations.kafka_clients import reader_config

READERS = 2
GONE = frozenset({KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET, KafkaError.UNKNOWN_TOPIC_OR_PART})
SILENCE_SECONDS = 0.5  # librdkafka hopes for a topic that isn't there; after so long we ask
FETCH_BYTES = 64 * 1024  # a larger record still comes whole; the ones after it are not wanted


class RecordUnreachable(Exception):
    """The log could not be read in time."""


class RecordReader:
    """A few consumers, made when first needed, each reading one record at a time in a thread. `await close()`."""

    def __init__(self, bootstrap: str, readers: int = READERS) -> None:
        self._bootstrap = bootstrap
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="record-reader")
        self._idle: queue.SimpleQueue[Consumer] = queue.SimpleQueue()

    async def read(self, topic: str, partition: int, offset: int, timeout_seconds: float) -> bytes | None:
        """The record's value; None where it is gone (retention, a deleted topic). Raises RecordUnreachable."""
        position = TopicPartition(topic, partition, offset)
        deadline = time.monotonic() + timeout_seconds
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, position, deadline)

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)
        while not self._idle.empty():
            self._idle.get().close()

    def _read(self, position: TopicPartition, deadline: float) -> bytes | None:
        try:
            consumer = self._idle.get_nowait()
        except queue.Empty:
            consumer = self._new_consumer()
        try:
            consumer.assign([position])
            return _value_at(consumer, position, deadline)
        except KafkaException as error:
            raise RecordUnreachable(str(error)) from error
        finally:
            consumer.unassign()  # else it would go on fetching what follows
            self._idle.put(consumer)

    def _new_consumer(self) -> Consumer:
        config = reader_config(self._bootstrap, f"record-reader-{uuid.uuid4().hex}")
        return Consumer(
            config
            | {
                "auto.offset.reset": "error",  # a position that is gone is an answer, not a reason to read another
                "enable.partition.eof": True,
                "fetch.message.max.bytes": FETCH_BYTES,
                "logger": logging.getLogger(__name__),
            }
        )


def _value_at(consumer: Consumer, position: TopicPartition, deadline: float) -> bytes | None:
    while (left_seconds := deadline - time.monotonic()) > 0:
        message = consumer.poll(min(left_seconds, SILENCE_SECONDS))
        if message is None:
            if _is_gone(consumer, position.topic, deadline):
                return None
            continue
        error = message.error()
        if error is None:
            return message.value() if message.offset() == position.offset else None
        if error.code() in GONE:
            return None
    raise RecordUnreachable(f"{position.topic}[{position.partition}] was not readable in time")


def _is_gone(consumer: Consumer, topic: str, deadline: float) -> bool:
    found = consumer.list_topics(topic, timeout=max(0.001, deadline - time.monotonic())).topics[topic]
    return found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
