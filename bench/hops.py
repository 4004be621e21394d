"""Where the time between a request and its delivery went, read back from the log after the run.

Each record's append time is the broker's, each attempt's start is delivery's: whole milliseconds of one machine's
clock, so a hop is known to a millisecond, and percentiles over many events to less.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, Message, TopicPartition

from bench.figures import Figures, figures_of
from bench.sender import Sent
from schemas.records import Delivery, Outcome
from schemas.topics import Topic

MILLISECOND_NS = 1_000_000
READ_SECONDS = 10.0


@dataclass
class Stamps:
    """Wall clock in nanoseconds; 0: not seen."""

    appended_ns: int = 0
    routed_ns: int = 0
    started_ns: int = 0


def hops_of(bootstrap: str, sent: Iterable[Sent], arrivals: Mapping[str, int]) -> dict[str, Figures]:
    """The parts of "request → first delivery", in their order."""
    stamps = read_stamps(bootstrap)
    to_wall_ns = time.time_ns() - time.monotonic_ns()
    parts: dict[str, list[int]] = {
        "request → on the log": [],
        "on the log → admitted, delivery on the log": [],
        "delivery on the log → attempt starts": [],
        "attempt starts → at the endpoint": [],
    }
    for one in sent:
        stamp = stamps.get(one.event_id)
        if stamp is None or not (stamp.routed_ns and stamp.started_ns) or one.event_id not in arrivals:
            continue
        points = (
            one.due_ns + to_wall_ns,
            stamp.appended_ns,
            stamp.routed_ns,
            stamp.started_ns,
            arrivals[one.event_id] + to_wall_ns,
        )
        for times, start, end in zip(parts.values(), points, points[1:], strict=False):
            times.append(end - start)
    return {name: figures_of(times) for name, times in parts.items()}


def read_stamps(bootstrap: str) -> dict[str, Stamps]:
    """What the log says of each event, by its id."""
    stamps: dict[str, Stamps] = {}
    for message in records_of(bootstrap, Topic.DELIVERIES):
        delivery, at_ns = Delivery.decode(message.value() or b""), appended_ns(message)
        stamp = stamps.setdefault(delivery.event_id, Stamps())
        stamp.appended_ns, stamp.routed_ns = delivery.received_ms * MILLISECOND_NS, at_ns
    for message in records_of(bootstrap, Topic.OUTCOMES):
        outcome = Outcome.decode(message.value() or b"")
        stamps.setdefault(outcome.event_id, Stamps()).started_ns = outcome.started_ms * MILLISECOND_NS
    return stamps


def appended_ns(message: Message) -> int:
    """The broker's append time."""
    return message.timestamp()[1] * MILLISECOND_NS


def records_of(bootstrap: str, topic: str) -> Iterator[Message]:
    """Every record that the topic has now."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-hops", "enable.auto.commit": False})
    metadata = consumer.list_topics(topic, timeout=READ_SECONDS).topics[topic]
    ends = {
        partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=READ_SECONDS)[1]
        for partition in metadata.partitions
    }
    unread = {partition for partition, end in ends.items() if end}
    consumer.assign([TopicPartition(topic, partition, 0) for partition in unread])
    while unread and (message := consumer.poll(READ_SECONDS)) is not None:
        if message.error() is None:
            yield message
            if (message.offset() or 0) + 1 >= ends[message.partition() or 0]:
                unread.discard(message.partition() or 0)
    consumer.close()
