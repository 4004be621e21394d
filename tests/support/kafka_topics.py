"""Topics and single records for tests that talk to a broker directly."""

import secrets
import time
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, Producer, TopicPartition

from operations.kafka_clients import reader_config
from operations.random_ids import short_id
from operations.topic_admin import ensure_topics
from schemas.ids import WORKSPACE
from schemas.topics import StreamTopic, Topic, TopicSpec, base_topics, stream_topic_spec

PARTITIONS = 8
TIMEOUT_SECONDS = 20.0


class Stored(NamedTuple):
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def ensure_base_topics(bootstrap: str) -> None:
    ensure_topics(bootstrap, base_topics(PARTITIONS))


def a_stream_topic(bootstrap: str, partitions: int = PARTITIONS, workspace: str | None = None) -> str:
    """A new stream's topic, of a workspace of its own unless one is given."""
    topic = StreamTopic(workspace or short_id(WORKSPACE), "live", f"test-{secrets.token_hex(4)}")
    spec = stream_topic_spec(topic, partitions, 1)
    ensure_topics(bootstrap, [TopicSpec(spec.name, spec.partitions, spec.config)])
    return topic.name


def produce(
    bootstrap: str,
    topic: str,
    value: bytes | None,
    *,
    key: bytes | None = None,
    partition: int = -1,
    headers: list[tuple[str, bytes]] | None = None,
) -> tuple[int, int]:
    """Where it was stored: partition and offset."""
    stored: list[tuple[int, int]] = []
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "partitioner": "murmur2_random"})
    producer.produce(
        topic,
        value,
        key,
        partition=partition,
        headers=headers or [],
        on_delivery=lambda error, message: stored.append((message.partition(), message.offset())),
    )
    producer.flush(TIMEOUT_SECONDS)
    return stored[0]


def read_all(bootstrap: str, topic: str) -> list[Stored]:
    """All of a topic as of now."""
    consumer = Consumer(reader_config(bootstrap, f"test-{secrets.token_hex(8)}"))
    try:
        partitions = list(consumer.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic].partitions)
        first, end = (offsets(consumer, topic, partitions, which) for which in (OFFSET_BEGINNING, OFFSET_END))
        left = {p: offset for p, offset in end.items() if first[p] < offset}
        if left:
            consumer.assign([TopicPartition(topic, p, first[p]) for p in left])
        return _read_to(consumer, left)
    finally:
        consumer.close()


def offsets(consumer: Consumer, topic: str, partitions: list[int], which: int) -> dict[int, int]:
    """Of all partitions at once: tests ask again and again while they wait. A topic made a moment ago may have no
    leader yet, or one that does not know it.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            wanted = [TopicPartition(topic, partition, which) for partition in partitions]
            found = consumer.offsets_for_times(wanted, timeout=TIMEOUT_SECONDS)
            if not any(one.error for one in found):
                return {one.partition: one.offset for one in found}
        except KafkaException:
            if time.monotonic() >= deadline:
                raise
        assert time.monotonic() < deadline, f"no offsets of {topic}"
        time.sleep(0.05)


def _read_to(consumer: Consumer, ends: dict[int, int]) -> list[Stored]:
    """Each partition to its end. What is written meanwhile is left out: counted along, it would stand for others."""
    found: list[Stored] = []
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while ends:
        assert time.monotonic() < deadline, f"not read to {ends}"
        for message in consumer.consume(1_000, 0.05):
            partition, offset = message.partition() or 0, message.offset() or 0
            if message.error() is not None or offset >= ends.get(partition, 0):
                continue
            found.append(Stored(partition, offset, message.key(), message.value(), message.headers() or []))  # type: ignore[arg-type]
            if offset + 1 == ends[partition]:
                del ends[partition]
    return found


def watermarks(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """The first offset and the end. A topic made a moment ago may have no leader yet, or one that does not know it."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            return consumer.get_watermark_offsets(partition, timeout=TIMEOUT_SECONDS)
        except KafkaException:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)


def committed_offsets(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """The group's offset of each partition; 0 where it has none."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    try:
        partitions = consumer.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic].partitions
        found = consumer.committed([TopicPartition(topic, one) for one in partitions], timeout=TIMEOUT_SECONDS)
        return {position.partition: max(0, position.offset) for position in found}
    finally:
        consumer.close()


def send_verdict(bootstrap: str, partition: int, value: bytes) -> None:
    """What an agent does: to the partition that the reply header named."""
    produce(bootstrap, Topic.VERDICTS, value, partition=partition)
