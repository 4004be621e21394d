"""What the number of streams costs: start and throughput of one worker that follows 1,000 of them, beside 10."""

import time
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from bench.admission.filling import signed_event
from bench.admission.meter import speed_of
from bench.admission.recovery import ready_after
from bench.admission.world import World, running
from operations.kafka_clients import producer_config
from operations.topic_admin import ensure_topics
from schemas.topics import StreamTopic, Topic, TopicSpec, stream_topic_spec
from tests.support.kafka_topics import PARTITIONS
from tests.support.streams import LiveStream

FEW = 10
GOAL_START_SECONDS, GOAL_SHARE = 30.0, 0.8
LIMIT_SECONDS = 120.0
CREATED_AT_ONCE = 100
CREATE_SECONDS = 120.0


def many_streams(world: World, directory: Path, many: int, events: int) -> dict[str, Any]:
    """First the few, then so many more that it is `many`; the same events over each."""
    found: dict[str, Any] = {"streams": many, "partitions": PARTITIONS}
    streams: list[LiveStream] = []
    for name, count in (("few", FEW), ("many", many)):
        began = time.monotonic()
        streams += make(world, range(len(streams), count))
        created_seconds = time.monotonic() - began
        with running(world.worker(directory / f"start-{name}")) as worker:
            start_seconds = ready_after(worker)
            worker.stop()
        spread(world, streams, events)
        with running(world.worker(directory / f"run-{name}")) as worker:
            speed = speed_of(worker, events, LIMIT_SECONDS)
            worker.stop()
        found[name] = {"created_seconds": round(created_seconds, 1), "start_seconds": start_seconds, **speed.as_json()}
    share = found["many"]["events_a_core_second"] / found["few"]["events_a_core_second"]
    start = found["many"]["start_seconds"]
    return found | {"share": round(share, 2), "met": start <= GOAL_START_SECONDS and share >= GOAL_SHARE}


def make(world: World, numbers: range) -> list[LiveStream]:
    """Topics by the hundred, then all entities."""
    specs = []
    for number in numbers:
        spec = stream_topic_spec(StreamTopic("ws_4F9KQ2C7Z1", "live", f"stream-{number:04d}"), PARTITIONS, 1)
        specs.append(TopicSpec(spec.name, spec.partitions, spec.config))
    for start in range(0, len(specs), CREATED_AT_ONCE):
        ensure_topics(world.kafka, specs[start : start + CREATED_AT_ONCE], CREATE_SECONDS)
    streams = [
        LiveStream(
            world.kafka,
            world.master_key,
            f"stream-{number:04d}",
            workspace="ws_4F9KQ2C7Z1",
            announce=False,
            make_topic=False,
        )
        for number in numbers
    ]
    producer = Producer(producer_config(world.kafka) | {"partitioner": "murmur2_random"})
    for stream in streams:
        entity = stream.entity.to_entity()
        producer.produce(Topic.CONTROL, entity.encode(), entity.key)
    producer.flush(30)
    return streams


def spread(world: World, streams: list[LiveStream], events: int) -> None:
    """Evenly, stream after stream in turn."""
    producer = Producer(
        producer_config(world.kafka, linger_ms=50, queue_messages_max=1_000_000) | {"partitioner": "murmur2_random"}
    )
    signer, run = world.signer(), time.monotonic_ns()
    for number in range(events):
        stream = streams[number % len(streams)]
        event = signed_event(stream, signer, f"{run}-{number}", keyed=False)
        producer.produce(stream.name, event.value, event.key, headers=event.headers)
        if number % 1_000 == 0:
            producer.poll(0)
    producer.flush(120)


def lines(found: dict[str, Any]) -> list[str]:
    rows = [f"{'streams':>8}{'start s':>10}{'events/s':>10}{'a core':>10}{'µs CPU':>9}"]
    for name, count in (("few", FEW), ("many", found["streams"])):
        one = found[name]
        rows.append(
            f"{count:>8}{one['start_seconds']:>10}{one['events_a_second']:>10}{one['events_a_core_second']:>10}"
            f"{one['cpu_microseconds_an_event']:>9}"
        )
    rows.append(
        f"throughput a core is {found['share']} of that with {FEW} (goal {GOAL_SHARE:g}); "
        f"start goal {GOAL_START_SECONDS:g} s"
    )
    return rows
