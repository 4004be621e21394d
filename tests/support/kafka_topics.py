"""Topics and single records for tests that talk to a broker directly."""

import secrets
import time
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

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
        partitions = consumer.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic].partitions
        ends = {p: watermarks(consumer, TopicPartition(topic, p)) for p in partitions}
        consumer.assign([TopicPartition(topic, p, low) for p, (low, _) in ends.items()])
        count = sum(high - low for low, high in ends.values())
        messages = consumer.consume(count, TIMEOUT_SECONDS) if count else []
        return [Stored(m.partition(), m.offset(), m.key(), m.value(), m.headers() or []) for m in messages]  # type: ignore[arg-type]
    finally:
        consumer.close()


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


def send_verdict(bootstrap: str, partition: int, value: bytes) -> None:
    """What an agent does: to the partition that the reply header named."""
    produce(bootstrap, Topic.VERDICTS, value, partition=partition)
