"""Records leave the outbox for the partition that was named, or that their key names, one by one and in bulk."""

import uuid
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from processors.runtime.outbox import Outbox
from schemas.partitioner import partition_for
from tests.support.until import until

PARTITIONS = 8


@pytest.fixture
def topic(kafka: str) -> str:
    name = f"outbox-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(30)
    return name


@pytest.fixture
async def outbox(kafka: str) -> AsyncIterator[Outbox]:
    running = Outbox(kafka)
    yield running
    await running.stop()


def values(kafka: str, topic: str, count: int) -> dict[int, list[bytes]]:
    """All values by partition, once there are so many."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topic})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found: dict[int, list[bytes]] = {}
    while sum(map(len, found.values())) < count:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            found.setdefault(message.partition() or 0, []).append(message.value() or b"")
    consumer.close()
    return found


async def test_in_bulk_all_go_to_the_partition_that_is_named_in_order(kafka: str, topic: str, outbox: Outbox) -> None:
    batch = outbox.batch()
    for partition in range(3):
        batch.produce_values(topic, partition, [b"%d" % number for number in range(partition, 30, 3)])
    await batch.confirmed()
    assert values(kafka, topic, 30) == {
        partition: [b"%d" % number for number in range(30) if number % 3 == partition] for partition in range(3)
    }


async def test_eager_batches_are_confirmed_as_others_are(kafka: str, topic: str, outbox: Outbox) -> None:
    """While one is under way the next waits for company; each has its own records confirmed."""
    alone, beside = outbox.batch(eager=True), outbox.batch(eager=True)
    alone.produce(topic, b"alone", partition=0, is_changelog=True)
    late = outbox.batch(eager=True)
    for batch in (beside, late):
        batch.produce_values(topic, 1, [b"beside"] * 3)
    for batch in (late, beside, alone):
        await batch.confirmed()
    await until(lambda: outbox.waiting() == 0)  # the producer counts a record until its report was told
    assert alone.changelog_end == {topic: 1}
    assert values(kafka, topic, 7) == {0: [b"alone"], 1: [b"beside"] * 6}


async def test_in_bulk_and_alone_a_key_leads_to_the_same_partition(kafka: str, topic: str, outbox: Outbox) -> None:
    keys = [uuid.uuid4().hex.encode() for _ in range(20)]
    batch = outbox.batch()
    batch.produce_many(topic, [{"value": key, "key": key} for key in keys])
    for key in keys:
        batch.produce(topic, key, key=key)
    await batch.confirmed()
    found = values(kafka, topic, 40)
    assert all(partition_for(key, PARTITIONS) == partition for partition, of_it in found.items() for key in of_it)
    assert all(found[partition_for(key, PARTITIONS)].count(key) == 2 for key in keys)
