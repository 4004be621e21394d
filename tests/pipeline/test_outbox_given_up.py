"""What an assignment that is given up leaves behind in the outbox: nothing that would leave later."""

import asyncio
import time
from pathlib import Path

import pytest

from operations.topic_admin import ensure_topics
from processors.runtime.errors import Abandoned
from processors.runtime.outbox import Outbox
from schemas.topics import TopicSpec
from tests.support.brokers import a_broker
from tests.support.kafka_topics import read_all

TOPIC = "given-up"


@pytest.mark.requirement("F16", "F2")
async def test_what_waits_for_a_broker_is_dropped_and_what_begins_after_it_leaves(tmp_path: Path) -> None:
    """The broker is away as records are handed over, as the group's coordinator is when a lease runs out."""
    broker = a_broker(tmp_path / "broker")
    outbox = Outbox(broker.bootstrap)
    try:
        waiting, begun = outbox.batch(), outbox.batch()
        for number in range(1_000):
            waiting.produce(TOPIC, b"old %d" % number, partition=0)
        confirmed = asyncio.create_task(waiting.confirmed())
        await asyncio.sleep(0.1)
        assert outbox.stuck_seconds(time.monotonic()) > 0
        outbox.give_up()
        with pytest.raises(Abandoned):
            await confirmed
        assert outbox.waiting() == 0
        while_closed = outbox.batch()
        for batch in (waiting, begun, while_closed):
            with pytest.raises(Abandoned):
                batch.produce(TOPIC, b"too late", partition=0)
        await asyncio.to_thread(broker.start)
        ensure_topics(broker.bootstrap, [TopicSpec(TOPIC, 1, {})])
        outbox.open()
        with pytest.raises(Abandoned):
            begun.produce_values(TOPIC, 0, [b"too late"])
        with pytest.raises(Abandoned):
            await begun.confirmed()
        after = outbox.batch(prompt=True)
        after.produce(TOPIC, b"new", partition=0)
        await after.confirmed()
        assert [record.value for record in read_all(broker.bootstrap, TOPIC)] == [b"new"]
    finally:
        await outbox.stop()
        broker.kill()
