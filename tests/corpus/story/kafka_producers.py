"""Kafka producers: JSON, Avro, CloudEvents, what nobody can read, and a record that is not where its key belongs."""

import json

from tests.corpus import adapter
from tests.corpus.story.client import EVENT, PARTITIONS, Story


async def kafka_producers(story: Story) -> None:
    topic = f"events.{story.workspace}.live.orders"
    plain = json.dumps(EVENT | {"data": {"by": "kafka"}, "idempotency_key": "k-1"}).encode()
    other = json.dumps(EVENT | {"data": {"by": "another"}, "idempotency_key": "k-1"}).encode()
    avro = adapter.direct_event("order.fulfilled", "2026-05-18T14:22:11Z", b'{"by":"avro"}', "k-2")
    for key, value in (
        (b"k-1", plain),
        (b"k-1", plain),
        (b"k-1", other),
        (b"k-2", avro),
        (b"bad", b"\xff no event"),
    ):
        story.producer.produce(topic, value, key)
    strayed = json.dumps(EVENT | {"data": {"strayed": True}, "idempotency_key": "k-3"}).encode()
    for partition in range(PARTITIONS):  # on all but one it is not where its key belongs
        story.producer.produce(topic, strayed, b"k-3", partition=partition)
    cloudevent = {"ce_specversion": "1.0", "ce_id": "A-1", "ce_source": "/orders", "ce_type": "order.fulfilled"}
    story.producer.produce(
        topic,
        b'{"n": 1.0}',
        headers={**cloudevent, "content-type": "application/json"},  # type: ignore[arg-type]
    )
    story.producer.produce("commands", b"\x00 no command", story.workspace.encode())
    story.producer.produce("burn.telemetry", b"\x00 no telemetry", story.workspace.encode())
    assert story.producer.flush(30) == 0
    written = {"k-1", "k-2", "k-3"}
    listed = "/v1/events?stream=orders&limit=100"
    await story.until("events", listed, lambda told: written <= {one["idempotency_key"] for one in told["data"]})
