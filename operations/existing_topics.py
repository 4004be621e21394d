"""Topics that existed before Atlas used them: which of their settings Atlas needs, and which topics no agent reads.

Blocking. KafkaException: no broker answers.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import ResourceType  # type: ignore[attr-defined]

from operations.cluster_admin import ClusterAdmin
from operations.kafka_clients import code_of, reader_config, reason_of
from operations.logs import event
from operations.topic_ends import TopicEnds
from schemas.topics import EVENTS_PREFIX, TopicSpec

log = logging.getLogger(__name__)
ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.5
NOT_ALLOWED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
MUST_BE = {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"}
"""Settings in which a topic must agree with its spec, with Kafka's defaults. A compacted topic from which records are
deleted by age loses entities; without the broker's timestamps keys age by their producers' clocks. All other settings
are the operator's.
"""


def stamped_by_producers(bootstrap: str, topic: str, partitions: int) -> list[int]:
    """The partitions whose oldest record has its producer's timestamp, not the broker's."""
    consumer = Consumer(reader_config(bootstrap, "atlas-look") | {"enable.partition.eof": True})
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        unseen, found = set(range(partitions)), []
        deadline = time.monotonic() + ANSWER_SECONDS
        while unseen:
            message = consumer.poll(POLL_SECONDS)
            if message is None or message.partition() not in unseen:
                if time.monotonic() >= deadline:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{topic} can't be read"))
                continue
            partition, error = message.partition() or 0, message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            unseen.discard(partition)
            if error is None and message.timestamp()[0] != TIMESTAMP_LOG_APPEND_TIME:
                found.append(partition)
        return sorted(found)
    finally:
        consumer.close()


def correct_configuration(admin: ClusterAdmin, specs: Sequence[TopicSpec]) -> None:
    """Corrects the settings of existing topics that Atlas relies on (MUST_BE), and logs that."""
    present = admin.configurations(ResourceType.TOPIC, [spec.name for spec in specs], _log_unchecked)
    for spec in specs:
        entries = present.get(spec.name)
        if entries is None:
            continue
        wanted = {name: spec.config.get(name, usual) for name, usual in MUST_BE.items()}
        wrong = {name: value for name, value in wanted.items() if entries[name] != value}
        if wrong:
            try:
                admin.configure(spec.name, wrong)
            except KafkaException as error:
                _log_unchecked(spec.name, error)
                continue
            before = {name: entries[name] for name in wrong}
            event(log, "topic.corrected", logging.WARNING, topic=spec.name, before=before, now=wrong)


def _log_unchecked(topic: str, error: KafkaException) -> None:
    """Missing rights to read or set the configuration are left to the operator. Raises any other error."""
    if code_of(error) not in NOT_ALLOWED:
        raise error
    event(log, "topic.unchecked", logging.WARNING, topic=topic, error=reason_of(error))


WHAT_TO_DO_UNREAD = "no stream has this topic, so nobody reads it: create the stream, or delete the topic"


def unread_topics(admin: ClusterAdmin, ends: TopicEnds, stream_topics: Collection[str]) -> dict[str, int]:
    """Topics that are named as streams' are and belong to none, and how many records each holds: nobody reads them.

    `stream_topics`: of all streams that there are, as `control` says now.
    """
    counts = admin.partition_counts()
    return records_of(ends, {name: counts[name] for name in without_a_stream(counts, stream_topics)})


def records_of(ends: TopicEnds, partition_counts: Mapping[str, int]) -> dict[str, int]:
    """How many records each of these topics has; 0 for one that is gone by now."""
    tps = [(topic, partition) for topic, count in partition_counts.items() for partition in range(count)]
    records = dict.fromkeys(partition_counts, 0)
    for (topic, _), span in ends.ranges(tps).items():
        records[topic] += span.end - span.first
    return records


def without_a_stream(topics: Collection[str], stream_topics: Collection[str]) -> list[str]:
    """The topics whose names are those of streams that do not exist."""
    return sorted(name for name in topics if name.startswith(EVENTS_PREFIX) and name not in stream_topics)
