"""Whether a topic is gone. One broker's word is not enough, since it may have heard of nothing for long: each is asked
for itself, and more than half of them have to say so. Blocking.
"""

import time
import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]

from operations.kafka_clients import library_log, reader_config

SHORTEST_SECONDS = 0.1


def is_gone(bootstrap: str, topic: str, timeout_seconds: float) -> bool:
    """Raises KafkaException where too few brokers answer to know."""
    deadline = time.monotonic() + timeout_seconds
    metadata = _metadata(bootstrap, topic, deadline)
    if not _is_unknown(metadata, topic):
        return False
    brokers = [f"{broker.host}:{broker.port}" for broker in metadata.brokers.values()]
    if len(brokers) == 1:
        return True
    with ThreadPoolExecutor(len(brokers), thread_name_prefix="gone-topics") as threads:
        # librdkafka asks any broker it likes; a client that has a single address asks that one.
        answers = threads.map(lambda address: _says(bootstrap, address, topic, deadline), brokers)
        return believed(list(answers))


def believed(unknown_to: Collection[bool | None]) -> bool:
    """What the brokers' answers amount to: of each, whether it knows no such topic, or None if it did not answer.
    Raises KafkaException where the answers do not decide it.
    """
    if any(unknown is False for unknown in unknown_to):
        return False
    if 2 * sum(unknown is True for unknown in unknown_to) > len(unknown_to):
        return True
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "too few brokers say whether the topic is there"))


def _says(bootstrap: str, address: str, topic: str, deadline: float) -> bool | None:
    try:
        return _is_unknown(_metadata(bootstrap, topic, deadline, address), topic)
    except KafkaException:
        return None


def _metadata(bootstrap: str, topic: str, deadline: float, address: str | None = None) -> ClusterMetadata:
    """By a consumer, whose questions make no topics."""
    config = reader_config(bootstrap, f"gone-topics-{uuid.uuid4().hex}") | {"logger": library_log("gone-topics")}
    consumer = Consumer(config if address is None else config | {"bootstrap.servers": address})
    try:
        found: ClusterMetadata = consumer.list_topics(topic, timeout=max(SHORTEST_SECONDS, deadline - time.monotonic()))
        return found
    finally:
        consumer.close()


def _is_unknown(metadata: ClusterMetadata, topic: str) -> bool:
    """Any other trouble with it (no leader for now, not for our eyes) is that of a topic that is there."""
    error = metadata.topics[topic].error
    return error is not None and error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
