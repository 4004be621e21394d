"""Batches on the log against a real broker that is killed, paused or away: each record is answered, and truthfully."""

import asyncio

import pytest

from deploy.local.broker import Broker
from ingest_gateway.log.batches import BatchAppend
from ingest_gateway.log.event_log import Appended, EventLog, LogUnavailable
from tests.pipeline.test_event_log import (
    STREAM_TOPIC,
    FailingProducer,
    ProducerOfRepeats,
    ProducerWhoseSecondTryIsStored,
    a_log,
    late,
)
from tests.support.kafka_topics import a_stream_topic, read_all
from tests.support.until import GIVE_UP_SECONDS, until

RECORDS = 200


def values(named: str) -> list[bytes]:
    return [f"{named}-{number}".encode() for number in range(RECORDS)]


def append(log: EventLog, topic: str, named: str) -> BatchAppend:
    keys = [b"key-%d" % number for number in range(RECORDS)]
    return log.append_all(topic, keys, values(named), [[("h", b"1")]] * RECORDS)


def deadline(seconds: float = GIVE_UP_SECONDS) -> float:
    return asyncio.get_running_loop().time() + seconds


def confirmed(batch: BatchAppend) -> list[bool]:
    return [batch.timestamp_ms(number) is not None for number in range(batch.records)]


@pytest.mark.requirement("F1")
async def test_a_broker_killed_half_way_and_back_has_each_record_once(hurt_broker: Broker) -> None:
    topic = a_stream_topic(hurt_broker.bootstrap)
    async with a_log(hurt_broker.bootstrap) as log:
        before = append(log, topic, "before")
        await before.wait(deadline())
        during = append(log, topic, "during")
        hurt_broker.kill()
        after = append(log, topic, "after")
        await until(lambda: log.unreachable is not None)
        hurt_broker.start()
        for batch in (during, after):
            await batch.wait(deadline())
            assert all(confirmed(batch))
    stored = sorted(record.value or b"" for record in read_all(hurt_broker.bootstrap, topic))
    assert all(confirmed(before))
    assert stored == sorted([*values("before"), *values("during"), *values("after")])


@pytest.mark.requirement("F5", "F37")
async def test_reports_after_the_request_gave_up_are_counted_and_the_records_are_there(hurt_broker: Broker) -> None:
    topic, late_before = a_stream_topic(hurt_broker.bootstrap), late("stored")
    async with a_log(hurt_broker.bootstrap) as log:
        await append(log, topic, "first").wait(deadline())
        hurt_broker.pause()
        batch = append(log, topic, "late")
        await batch.wait(deadline(0.05))
        assert confirmed(batch) == [False] * RECORDS
        assert log.oldest_waiting_seconds() > 0 and not log.has_room(100_000)
        hurt_broker.resume()
        await until(lambda: late("stored") == late_before + RECORDS)
        assert confirmed(batch) == [False] * RECORDS, "what was answered stays as it is"
        assert log.has_room(100_000)
    assert len(read_all(hurt_broker.bootstrap, topic)) == 2 * RECORDS


@pytest.mark.requirement("F42")
async def test_closing_without_a_broker_ends_every_wait(hurt_broker: Broker) -> None:
    topic = a_stream_topic(hurt_broker.bootstrap)
    async with a_log(hurt_broker.bootstrap) as log:
        await append(log, topic, "first").wait(deadline())
        hurt_broker.kill()
        batch = append(log, topic, "lost")
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await log.close(flush_seconds=0.2)
            await batch.wait(deadline())
        assert confirmed(batch) == [False] * RECORDS
        with pytest.raises(LogUnavailable):
            append(log, topic, "after")


@pytest.mark.requirement("F5")
async def test_records_of_which_no_broker_said_where_they_are_do_not_count_as_stored() -> None:
    async with a_log("127.0.0.1:1", make_producer=ProducerOfRepeats) as log:
        batch = append(log, STREAM_TOPIC, "again")
        await batch.wait(deadline())
        assert confirmed(batch) == [False] * RECORDS
        assert log.newest("ws_1", "live") == [] and log.has_room(100_000)


@pytest.mark.requirement("F5")
async def test_such_records_are_appended_once_more() -> None:
    async with a_log("127.0.0.1:1", make_producer=ProducerWhoseSecondTryIsStored) as log:
        batch = append(log, STREAM_TOPIC, "twice")
        await batch.wait(deadline())
        assert {batch.timestamp_ms(number) for number in range(RECORDS)} == {7}
        assert log.newest("ws_1", "live") == [(STREAM_TOPIC, 3, 5)]
        assert log.has_room(100_000)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.requirement("F1", "F5")
@pytest.mark.parametrize("in_batches", [False, True])
async def test_what_is_confirmed_on_topics_that_were_just_made_is_there(kafka: str, in_batches: bool) -> None:
    """Their partitions have no leader yet that knows it: some requests fail while later ones succeed."""
    sizes = [10] * 20 if in_batches else [1] * RECORDS
    async with a_log(kafka) as log:
        for _ in range(60):
            topic = await asyncio.to_thread(a_stream_topic, kafka)
            under_way: list[BatchAppend | asyncio.Future[Appended]] = []
            for size in sizes:
                mine = [b"%d-%d" % (len(under_way), number) for number in range(size)]
                if in_batches:
                    under_way.append(log.append_all(topic, mine, mine, [[]] * size))
                else:
                    under_way.append(log.append(topic, mine[0], mine[0], [], may_repeat=True))
                await asyncio.sleep(0.0005)
            promised = 0
            for one in under_way:
                if isinstance(one, BatchAppend):
                    await one.wait(deadline())
                    promised += sum(confirmed(one))
                else:
                    await one
                    promised += 1
            stored = {record.value for record in await asyncio.to_thread(read_all, kafka, topic)}
            assert promised == RECORDS == len(stored)


@pytest.mark.requirement("F7")
async def test_after_a_fatal_error_no_record_of_a_batch_is_confirmed() -> None:
    told: list[str] = []
    async with a_log("127.0.0.1:1", on_fatal=told.append, make_producer=FailingProducer) as log:
        batch = append(log, STREAM_TOPIC, "fatal")
        await batch.wait(deadline())
        await until(lambda: bool(told))
        assert confirmed(batch) == [False] * RECORDS
        assert log.failed is not None and len(told) == 1
        with pytest.raises(LogUnavailable):
            append(log, STREAM_TOPIC, "after")
