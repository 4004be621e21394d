"""What Kafka itself says of an installation: its brokers, Atlas's topics, its groups with their members and lag, which
gateways have been heard of, and which topics are named as streams' but belong to none. It needs no process of Atlas, no
file of its home and no master key.
"""

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]

from operations import clock
from operations.control_reader import present_view
from operations.existing_topics import records_of, without_a_stream
from operations.kafka_clients import admin_config, reader_config
from operations.topic_ends import TopicEnds
from schemas.codec import Undecodable
from schemas.records import Usage
from schemas.topics import Topic

TIMEOUT_SECONDS = 10.0
GROUPS = ("admission", "control", "delivery", "projection", "lifecycle")
CONTROL_SECONDS = 30.0
HEARTBEATS_READ = 200
"""Of each partition of `usage`: a gateway writes one a second there."""


@dataclass(frozen=True)
class GroupState:
    """`lag`: records behind the ends of the partitions that it has committed on; None: it has committed nothing."""

    name: str
    state: str
    members: int
    lag: int | None


@dataclass(frozen=True)
class ClusterState:
    """`heard_of`: gateways by name, and how many seconds ago each wrote its last heartbeat. `unread_topics`: as
    `present_unread_topics` gives them.
    """

    brokers: Sequence[str]
    missing_topics: Sequence[str]
    stream_topics: int
    groups: Sequence[GroupState]
    heard_of: dict[str, float] = field(default_factory=dict)
    unread_topics: dict[str, int] | None = field(default_factory=dict)


def cluster_state(bootstrap: str) -> ClusterState:
    """Takes a second or so. Raises KafkaException where Kafka does not answer, or not to us."""
    client = AdminClient(admin_config(bootstrap))
    metadata = client.list_topics(timeout=TIMEOUT_SECONDS)
    missing = [str(topic) for topic in Topic if topic not in metadata.topics]
    return ClusterState(
        brokers=sorted(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values()),
        missing_topics=missing,
        stream_topics=sum(name.startswith("events.") for name in metadata.topics),
        groups=[_group(bootstrap, client, name) for name in GROUPS],
        heard_of={} if Topic.USAGE in missing else _gateways(bootstrap, list(metadata.topics[Topic.USAGE].partitions)),
        unread_topics=_unread(bootstrap, metadata),
    )


def present_unread_topics(bootstrap: str) -> dict[str, int] | None:
    """Topics that are named as streams' are and belong to none, and how many records each holds: nobody reads them.
    None where `control`, which knows the streams, can't be read. Raises KafkaException.
    """
    return _unread(bootstrap, AdminClient(admin_config(bootstrap)).list_topics(timeout=TIMEOUT_SECONDS))


def _unread(bootstrap: str, metadata: ClusterMetadata) -> dict[str, int] | None:
    """`control` is read after the topics were listed: a stream is named there before its topic is made."""
    candidates = without_a_stream(metadata.topics, ())
    if not candidates or Topic.CONTROL not in metadata.topics:
        return {}
    view = asyncio.run(present_view(bootstrap, CONTROL_SECONDS))
    if view is None:
        return None
    unread = without_a_stream(candidates, {stream.topic for stream in view.streams.values()})
    return records_of(
        TopicEnds(bootstrap, TIMEOUT_SECONDS), {name: len(metadata.topics[name].partitions) for name in unread}
    )


def _group(bootstrap: str, client: AdminClient, name: str) -> GroupState:
    described = client.describe_consumer_groups([name], request_timeout=TIMEOUT_SECONDS)[name]
    try:
        found = described.result()
        state, members = found.state.name.lower(), len(found.members)
    except KafkaException:  # a broker says so, or "dead", of a group that nobody has joined
        state, members = "dead", 0
    if state == "dead":
        return GroupState(name, "none", 0, None)
    return GroupState(name, state, members, _lag(bootstrap, client, name))


def _lag(bootstrap: str, client: AdminClient, group: str) -> int | None:
    asked = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=TIMEOUT_SECONDS)[
        group
    ]
    committed: dict[tuple[str, int], int] = {
        (one.topic, one.partition): one.offset for one in asked.result().topic_partitions if one.offset >= 0
    }
    if not committed:
        return None
    spans = TopicEnds(bootstrap, TIMEOUT_SECONDS).ranges(committed)  # without topics that were deleted
    return sum(max(0, span.end - committed[place]) for place, span in spans.items())


def _gateways(bootstrap: str, partitions: list[int]) -> dict[str, float]:
    """Those that did not say that they leave, by what they wrote last."""
    consumer = Consumer(reader_config(bootstrap, f"status-{uuid.uuid4().hex}"))
    now_ms, heard = clock.now_ms(), dict[str, tuple[int, bool]]()
    try:
        for at_ms, usage in _last_usage(consumer, partitions):
            if at_ms >= heard.get(usage.gateway, (0, False))[0]:
                heard[usage.gateway] = at_ms, usage.leaving
    finally:
        consumer.close()
    return {name: max(0.0, now_ms - at_ms) / 1_000 for name, (at_ms, left) in sorted(heard.items()) if not left}


def _last_usage(consumer: Consumer, partitions: list[int]) -> Iterator[tuple[int, Usage]]:
    for partition in partitions:
        place = TopicPartition(Topic.USAGE, partition)
        low, high = consumer.get_watermark_offsets(place, timeout=TIMEOUT_SECONDS)
        at = max(low, high - HEARTBEATS_READ)
        consumer.assign([TopicPartition(Topic.USAGE, partition, at)])
        while at < high:
            message = consumer.poll(TIMEOUT_SECONDS)
            if message is None or message.error() is not None:
                break
            at = (message.offset() or 0) + 1
            try:
                yield message.timestamp()[1], Usage.decode(message.value() or b"")
            except Undecodable:
                continue
