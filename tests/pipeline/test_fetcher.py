"""The fetcher over a real broker: what it hands out, which partitions it pauses, and which count as read to their ends.

Readiness of the processors (`/readyz`) and their lag come from the last.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from faust.types import TP

from processors.runtime import fetch_queues, fetched_records
from processors.runtime.batches import Batch
from processors.runtime.fetcher import Fetcher
from tests.support.until import until


@pytest.fixture
def topic(kafka: str) -> str:
    """A new one with two partitions."""
    name = f"read-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    return name


@pytest.fixture
async def fetcher(kafka: str) -> AsyncIterator[Fetcher]:
    running = Fetcher(kafka, f"read-{uuid.uuid4().hex}")
    yield running
    await running.stop()


def write(kafka: str, topic: str, records: int, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for _ in range(records):
        producer.produce(topic, b"a record", partition=partition)
    assert producer.flush(30) == 0


def write_and_abort(kafka: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": f"abort-{topic}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"taken back", partition=0)
    producer.flush(30)
    producer.abort_transaction(30)


async def batches(fetcher: Fetcher) -> Mapping[TP, Batch]:
    found: Mapping[TP, Batch] = {}
    while not found:
        found = await fetcher.batches(None, 1.0)
    return found


async def test_a_batch_is_waited_for(kafka: str, topic: str, fetcher: Fetcher) -> None:
    fetcher.assign({TP(topic, 0): 0, TP(topic, 1): 0})
    assert await fetcher.batches(None, 0.01) == {}
    waiting = asyncio.create_task(fetcher.batches(None, 20))
    await asyncio.sleep(0)
    write(kafka, topic, 1, partition=1)
    assert {tp: len(batch) for tp, batch in (await waiting).items()} == {TP(topic, 1): 1}


async def test_a_partition_whose_batch_takes_long_does_not_keep_the_others_from_being_fetched(
    kafka: str, topic: str, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched_records, "BATCH_WEIGHT_MAX", 10)
    monkeypatch.setattr(fetch_queues, "AHEAD_WEIGHT_MAX", 50)
    slow, other = TP(topic, 0), TP(topic, 1)
    write(kafka, topic, 1_000)
    fetcher.assign({slow: 0, other: 0})
    batch = (await batches(fetcher))[slow]
    await until(lambda: sum(fetcher.lag().values()) == 990)
    write(kafka, topic, 5, partition=1)
    found = await batches(fetcher)
    assert found.keys() == {other}, "the slow one's batch is out"
    handled = [record.offset for record in batch.records]
    while len(handled) < 1_000:
        fetcher.release(batch)
        batch = (await batches(fetcher))[slow]
        handled += [record.offset for record in batch.records]
    assert handled == list(range(1_000)), "paused and resumed: none lost, in order, each once"


async def test_empty_partitions_and_those_left_at_their_end_are_read(kafka: str, topic: str, fetcher: Fetcher) -> None:
    write(kafka, topic, 3)
    fetcher.assign({TP(topic, 0): 3, TP(topic, 1): None})
    assert fetcher.unread() == {TP(topic, 0), TP(topic, 1)}, "before the broker has told their ends"
    await until(lambda: not fetcher.unread())
    assert sum(fetcher.lag().values()) == 0


async def test_a_backlog_is_read_when_it_is_handled_not_when_it_is_fetched(
    kafka: str, topic: str, fetcher: Fetcher
) -> None:
    mine = TP(topic, 0)
    write(kafka, topic, 5)
    fetcher.assign({mine: None})
    assert fetcher.unbegun() == {mine}
    batch = (await batches(fetcher))[mine]
    assert not fetcher.unbegun(), "work on it has begun"
    await until(lambda: mine in fetcher.fetched_to_end())
    assert fetcher.unread() == {mine}, "fetched to its end, not handled"
    fetcher.release(batch)
    assert not fetcher.unread()
    write(kafka, topic, 5)
    await batches(fetcher)
    assert not fetcher.unread(), "what comes later is lag, and no reason to be unready"


@pytest.mark.requirement("K12")
async def test_a_record_taken_back_is_no_lag_and_keeps_nobody_waiting(kafka: str, topic: str, fetcher: Fetcher) -> None:
    """Else a worker would never be ready, and its watchdog would see work that is never done."""
    mine = TP(topic, 0)
    write(kafka, topic, 1)
    write_and_abort(kafka, topic)
    fetcher.assign({mine: None})
    batch = (await batches(fetcher))[mine]
    assert len(batch) == 1
    fetcher.release(batch)
    await until(lambda: not fetcher.unread() and fetcher.lag() == {mine: 0})


@pytest.mark.requirement("K12", "F30")
async def test_what_waits_for_a_transaction_is_lag_but_keeps_nobody_waiting_and_comes_with_its_end(
    kafka: str, topic: str, fetcher: Fetcher
) -> None:
    """A stranger can leave one open for a quarter of an hour: no worker must be ended for it, and an operator sees."""
    mine = TP(topic, 0)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": f"open-{topic}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"not yet", partition=0)
    producer.flush(30)
    write(kafka, topic, 3)
    fetcher.assign({mine: None})
    await until(lambda: not fetcher.unread() and mine in fetcher.open_transactions())
    assert fetcher.lag() == {mine: 4}
    assert fetcher.open_transactions()[mine][:2] == (4, 0), "four records behind offset 0"
    assert fetcher.due_and_idle() == {}
    producer.commit_transaction(30)
    left = 4
    while left:
        batch = (await batches(fetcher))[mine]
        left -= len(batch)
        fetcher.release(batch)
    await until(lambda: fetcher.lag() == {mine: 0} and not fetcher.open_transactions())


async def test_partitions_that_stay_stay_read_over_a_rebalance(kafka: str, topic: str, fetcher: Fetcher) -> None:
    fetcher.assign({TP(topic, 0): None})
    await until(lambda: not fetcher.unread())
    fetcher.assign({TP(topic, 0): 0, TP(topic, 1): None})
    assert fetcher.unread() == {TP(topic, 1)}
