"""Every Kafka topic of Atlas: name, partitions, how long it is kept. The one list.

`P` partitions (one count for all partitioned topics) make tables co-partition with what they decide.
All are LogAppendTime: a producer's clock can neither age records out nor keep them (F13, K7).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

VERDICT_PARTITIONS = 64
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
DAY_MS = 86_400_000
SHORT_DAYS = 10 / 1440
LIVE, TEST = "live", "test"
ENVIRONMENTS = (LIVE, TEST)
SPINE_STREAM, WORK_STREAM = "spine", "work"
SYSTEM_STREAMS = frozenset({SPINE_STREAM, WORK_STREAM})
"""Streams of the other surfaces, each named like its own: made when first needed, written to by that surface alone."""
EVENTS_PREFIX = "events."
ROUTES = "routes"
ROUTE_TOPIC_DAYS = 14
STREAM_NAME = re.compile(r"[a-z0-9-]{3,64}")


class Topic(StrEnum):
    """A fixed topic; stream topics are named by `stream_topic`."""

    ADMISSION = "admission"  # direct records that were on another partition than their key's, written once more
    DECISIONS = "decisions"
    COMMANDS = "commands"
    CONTROL = "control"
    ITEMS = "items"
    VERDICTS = "verdicts"
    BURN_TELEMETRY = "burn.telemetry"
    DELIVERIES = "deliveries"
    OUTCOMES = "outcomes"
    AUDIT = "audit"
    USAGE = "usage"
    QUOTAS = "quotas"
    POSITIONS = "positions"
    DEAD_LETTERS = "dead-letters"


@dataclass(frozen=True)
class TopicSpec:
    name: str
    partitions: int
    config: dict[str, str]


_RETENTION_DAYS: dict[Topic, float | None] = {
    Topic.ADMISSION: 30,
    Topic.DECISIONS: 97,
    Topic.COMMANDS: 30,
    Topic.CONTROL: None,  # compacted
    Topic.ITEMS: None,  # compacted
    Topic.VERDICTS: SHORT_DAYS,
    Topic.BURN_TELEMETRY: 100,
    Topic.DELIVERIES: 30,
    Topic.OUTCOMES: 97,
    Topic.AUDIT: 400,
    Topic.USAGE: SHORT_DAYS,
    Topic.QUOTAS: None,  # compacted
    Topic.POSITIONS: None,  # compacted
    Topic.DEAD_LETTERS: 30,
}

# A segment that is written to all the time is neither deleted nor compacted before it is full or old.
_SEGMENT_MS = {"segment.ms": str(int(SHORT_DAYS * DAY_MS))}
_SHORT_LIVED: dict[Topic, dict[str, str]] = dict.fromkeys((Topic.USAGE, Topic.QUOTAS, Topic.POSITIONS), _SEGMENT_MS)


def base_topics(partitions: int) -> list[TopicSpec]:
    """What an installation has before its first stream."""
    return [
        TopicSpec(
            topic,
            VERDICT_PARTITIONS if topic is Topic.VERDICTS else partitions,
            _config(_RETENTION_DAYS[topic]) | _SHORT_LIVED.get(topic, {}),
        )
        for topic in Topic
    ]


@dataclass(frozen=True, slots=True)
class StreamTopic:
    """What a stream topic's name says: whose it is. The topic decides, never the record (K9)."""

    workspace: str
    environment: str
    stream: str

    @property
    def name(self) -> str:
        return f"{EVENTS_PREFIX}{self.workspace}.{self.environment}.{self.stream}"


def surface_of(stream: str) -> str:
    """Whose rules hold for a stream's events; within a surface, idempotency keys and ids mean one event."""
    return stream if stream in SYSTEM_STREAMS else "events"


def stream_topic(workspace: str, environment: str, stream: str) -> str:
    return StreamTopic(workspace, environment, stream).name


def parse_stream_topic(name: str) -> StreamTopic | None:
    """None for a topic that is not a stream's."""
    parts = name.split(".")
    if len(parts) != 4 or parts[0] != "events" or parts[2] not in ENVIRONMENTS:
        return None
    return StreamTopic(*parts[1:])


@dataclass(frozen=True, slots=True)
class RouteTopic:
    """A topic that a workflow of kind `kafka` writes to. Its beginning says whose it is, so no tenant can name one of
    Atlas' own topics, or another's.
    """

    workspace: str
    environment: str
    topic: str

    @property
    def name(self) -> str:
        return route_topic_prefix(self.workspace, self.environment) + self.topic


def route_topic_prefix(workspace: str, environment: str) -> str:
    """What the names of a workspace's route topics begin with."""
    return f"{ROUTES}.{workspace}.{environment}."


def parse_route_topic(name: str) -> RouteTopic | None:
    """None for a topic that no route may have."""
    parts = name.split(".")
    if len(parts) != 4 or parts[0] != ROUTES or parts[2] not in ENVIRONMENTS:
        return None
    topic = RouteTopic(*parts[1:])
    return topic if STREAM_NAME.fullmatch(topic.topic) else None


def route_topic_spec(topic: RouteTopic, partitions: int) -> TopicSpec:
    return TopicSpec(topic.name, partitions, _config(ROUTE_TOPIC_DAYS))


def stream_topic_spec(topic: StreamTopic, partitions: int, retention_days: int) -> TopicSpec:
    """`uncompressed`: the broker unpacks what it stores, so a compression bomb is refused at the door (K6)."""
    return TopicSpec(topic.name, partitions, _config(retention_days) | {"compression.type": "uncompressed"})


def _config(retention_days: float | None) -> dict[str, str]:
    config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(MESSAGE_BYTES_MAX)}
    if retention_days is None:
        return config | {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
    return config | {"retention.ms": str(int(retention_days * DAY_MS))}
