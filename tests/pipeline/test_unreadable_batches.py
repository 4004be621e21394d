"""A batch that the broker's disk has damaged: its partition stops in front of it and says where; the others go on."""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from faust.types import TP

from deploy.local.broker import Broker
from operations.topic_admin import ensure_topics
from processors.runtime.fetcher import Fetcher
from schemas.topics import TopicSpec
from tests.support.kafka_topics import TIMEOUT_SECONDS, produce
from tests.support.until import until

EACH = 10
LENGTH_AT, LENGTH_ENDS, HEAD_BYTES = 8, 12, 61  # of a record batch, as Kafka's protocol has it
CODECS = ["none", "zstd"]


def three_batches(bootstrap: str, topic: str, codec: str) -> None:
    for batch in range(3):
        producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "linger.ms": 200})
        for number in range(EACH):
            producer.produce(topic, f"batch {batch}, record {number}".encode() * 20, partition=0)
        assert producer.flush(TIMEOUT_SECONDS) == 0


def damage_the_second(segment: Path) -> None:
    """A few bytes of its records; the broker itself looks at them no more."""
    log = bytearray(segment.read_bytes())
    second = LENGTH_ENDS + struct.unpack_from(">i", log, LENGTH_AT)[0]
    for place in range(second + HEAD_BYTES + 20, second + HEAD_BYTES + 28):
        log[place] ^= 0x55
    segment.write_bytes(log)


@pytest.fixture
async def fetcher(own_broker: Broker) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(own_broker.bootstrap, "test")
    yield fetcher
    await fetcher.stop()


async def handed_out(fetcher: Fetcher, tp: TP, count: int) -> list[int]:
    """The first offsets that come, each batch handled at once."""
    offsets: list[int] = []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while len(offsets) < count:
            for batch in (await fetcher.batches([tp], 0.5)).values():
                offsets += [record.offset for record in batch.records]
                fetcher.release(batch)
    return offsets


@pytest.mark.requirement("F31")
async def test_a_damaged_batch_stops_its_partition_loudly_and_no_other(own_broker: Broker, fetcher: Fetcher) -> None:
    topics = [f"damaged-{codec}" for codec in CODECS]
    ensure_topics(own_broker.bootstrap, [TopicSpec(topic, 2, {}) for topic in topics])
    for topic, codec in zip(topics, CODECS, strict=True):
        three_batches(own_broker.bootstrap, topic, codec)
    own_broker.stop()
    for topic in topics:
        damage_the_second(own_broker.home / "data" / f"{topic}-0" / f"{0:020}.log")
    own_broker.start()

    for topic in topics:  # one by one: librdkafka 2.16 aborts its process where two damaged partitions come at once
        damaged, whole = TP(topic, 0), TP(topic, 1)
        fetcher.assign({damaged: 0, whole: 0})
        assert await handed_out(fetcher, damaged, EACH) == list(range(EACH)), "what stands before it, once"
        await until(lambda tp=damaged: fetcher.unreadable(tp) is not None)  # type: ignore[misc]
        assert f"the batch at offset {EACH} can't be read" in (fetcher.unreadable(damaged) or "")
        await until(lambda tp=damaged: tp in fetcher.due_and_idle())  # type: ignore[misc]
        produce(own_broker.bootstrap, topic, b"fine", partition=1)
        assert await handed_out(fetcher, whole, 1) == [0]
        assert fetcher.unreadable(whole) is None
        assert await fetcher.batches([damaged], 0.3) == {}
