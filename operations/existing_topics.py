"""Topics that were there before Atlas came to them: what of them must be as Atlas makes it, and which nobody reads.

Blocking; each call has a client of its own. KafkaException: no broker answers.
"""

import logging
import time
from collections.abc import Collection, Sequence

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from operations.kafka_clients import admin_config, reader_config
from operations.logs import event
from operations.topic_ends import TopicEnds
from schemas.topics import EVENTS_PREFIX, TopicSpec

log = logging.getLogger(__name__)
ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.5
NOT_ALLOWED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
MUST_BE = {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"}
"""What a topic must agree with its spec in, and Kafka's own defaults. A compacted topic that is deleted from by age
loses entities; without the broker's times keys live by their producers' clocks. What else is set is the operator's.
"""


def stamped_by_producers(bootstrap: str, topic: str, partitions: int) -> list[int]:
    """Those partitions whose oldest record has a time that its producer wrote, and not the broker."""
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


def correct_configuration(client: AdminClient, specs: Sequence[TopicSpec]) -> None:
    """Sets what these existing topics must agree with their specs in, where they don't, and says so."""
    resources = {spec.name: ConfigResource(ResourceType.TOPIC, str(spec.name)) for spec in specs}
    if not resources:
        return
    described = client.describe_configs(list(resources.values()), request_timeout=ANSWER_SECONDS)
    for spec in specs:
        try:
            present = described[resources[spec.name]].result()
            wanted = {name: spec.config.get(name, usual) for name, usual in MUST_BE.items()}
            wrong = {name: value for name, value in wanted.items() if present[name].value != value}
            if wrong:
                before = {name: present[name].value for name in wrong}
                _set(client, spec.name, wrong)
                event(log, "topic.corrected", logging.WARNING, topic=spec.name, before=before, now=wrong)
        except KafkaException as error:
            if error.args[0].code() not in NOT_ALLOWED:
                raise
            event(log, "topic.unchecked", logging.WARNING, topic=spec.name, error=error.args[0].str())


def _set(client: AdminClient, topic: str, config: dict[str, str]) -> None:
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()]
    resource = ConfigResource(ResourceType.TOPIC, str(topic), incremental_configs=entries)
    client.incremental_alter_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()


def unread_topics(bootstrap: str, stream_topics: Collection[str]) -> dict[str, int]:
    """Topics that are named as streams' are and belong to none, and how many records each holds: nobody reads them.

    `stream_topics`: of all streams that there are, as `control` says now.
    """
    client = AdminClient(admin_config(bootstrap))
    counts = {name: len(topic.partitions) for name, topic in client.list_topics(timeout=ANSWER_SECONDS).topics.items()}
    unread = without_a_stream(counts, stream_topics)
    spans = TopicEnds(bootstrap, ANSWER_SECONDS).ranges([(name, one) for name in unread for one in range(counts[name])])
    records = dict.fromkeys(unread, 0)
    for (topic, _), span in spans.items():
        records[topic] += span.end - span.first
    return records


def without_a_stream(topics: Collection[str], stream_topics: Collection[str]) -> list[str]:
    """Pure."""
    return sorted(name for name in topics if name.startswith(EVENTS_PREFIX) and name not in stream_topics)
