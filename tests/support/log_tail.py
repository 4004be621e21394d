"""All of a topic, read on as it grows: for tests that wait for records of their own among those of others."""

import secrets
import time
from collections.abc import Callable

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from operations.kafka_clients import reader_config
from tests.support.kafka_topics import TIMEOUT_SECONDS, Stored, offsets

GIVE_UP_SECONDS = 60.0
TURN_RECORDS = 5_000
TURN_SECONDS = 0.05


class LogTail:
    """`records`: what was read so far; of one partition in the log's order."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.topic = topic
        self.records: list[Stored] = []
        self._consumer = Consumer(reader_config(bootstrap, f"tail-{secrets.token_hex(8)}") | {"fetch.wait.max.ms": 20})
        self._partitions = list(self._consumer.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic].partitions)
        self._next = dict.fromkeys(self._partitions, 0)
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in self._partitions])

    def until(self, enough: Callable[[], bool]) -> None:
        """Reads on until `enough` holds. Raises AssertionError when it never does."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while not enough():
            assert time.monotonic() < deadline, f"{self.topic}: still not enough after {len(self.records)} records"
            self.read_on()

    def to_end(self) -> list[Stored]:
        """All records that the topic holds now. Raises KafkaException where the broker can't be asked."""
        ends = offsets(self._consumer, self.topic, self._partitions, OFFSET_END)
        self.until(lambda: all(self._next[partition] >= end for partition, end in ends.items()))
        return self.records

    def read_on(self) -> int:
        """What is there now, or comes within a moment; how many."""
        messages = [message for message in self._consumer.consume(TURN_RECORDS, TURN_SECONDS) if not message.error()]
        self.records += [
            Stored(m.partition() or 0, m.offset() or 0, m.key(), m.value(), m.headers() or [])  # type: ignore[arg-type]
            for m in messages
        ]
        for message in messages:
            self._next[message.partition() or 0] = (message.offset() or 0) + 1
        return len(messages)

    def close(self) -> None:
        self._consumer.close()
