"""The port to the log against a real broker: what was stored where, a full queue, a broker away, late reports."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError

from deploy.local.broker import Broker
from ingest_gateway.log.event_log import EventLog, LogBusy, LogUnavailable, StorageUnknown
from operations.record_reader import StoredRecord
from schemas.partitioner import partition_for
from tests.support.kafka_topics import a_stream_topic, read_all
from tests.support.metrics import sample
from tests.support.until import GIVE_UP_SECONDS, until

STREAM_TOPIC = "events.ws_1.live.orders"


@asynccontextmanager
async def a_log(bootstrap: str, flush_seconds: float = 5.0, **settings: Any) -> AsyncIterator[EventLog]:
    log = EventLog(bootstrap, **settings)
    log.start()
    try:
        yield log
    finally:
        await log.close(flush_seconds)


def late(outcome: str) -> float:
    return sample("atlas_produce_late_reports_total", outcome=outcome)


@pytest.mark.requirement("A-027")
async def test_a_record_stands_where_murmur2_of_its_key_says_with_the_brokers_time(kafka: str) -> None:
    topic = a_stream_topic(kafka)
    async with a_log(kafka) as log:
        stored = await asyncio.gather(
            *(log.append(topic, f"key-{n}".encode(), f"value-{n}".encode(), [("h", b"1")]) for n in range(100))
        )
        assert log.unreachable is None
        assert {(topic, a.partition, a.offset) for a in stored} >= set(log.newest(*topic.split(".")[1:3]))
        newest = {partition: offset for _, partition, offset in log.newest(*topic.split(".")[1:3])}
        assert newest == {a.partition: max(b.offset for b in stored if b.partition == a.partition) for a in stored}
    assert [a.partition for a in stored] == [partition_for(f"key-{n}".encode(), 8) for n in range(100)]
    assert all(appended.timestamp_ms > 1_600_000_000_000 for appended in stored)
    read = {(r.partition, r.offset): r.value for r in read_all(kafka, topic)}
    assert [read[a.partition, a.offset] for a in stored] == [f"value-{n}".encode() for n in range(100)]


@pytest.mark.requirement("F8")
async def test_a_full_queue_refuses_at_once_and_what_was_taken_is_stored_later(hurt_broker: Broker) -> None:
    topic = a_stream_topic(hurt_broker.bootstrap)
    async with a_log(hurt_broker.bootstrap, queue_messages_max=1_000) as log:
        await log.append(topic, b"first", b"", [])
        hurt_broker.pause()
        assert log.has_room(1_000) and not log.has_room(1_001)
        before_bytes = psutil.Process(os.getpid()).memory_info().rss
        taken, refused = [], 0
        for number in range(5_000):
            try:
                taken.append(log.append(topic, str(number).encode(), b"v" * 10_000, []))
            except LogBusy:
                refused += 1
        assert (len(taken), refused) == (1_000, 4_000)
        assert not log.has_room(1)
        assert psutil.Process(os.getpid()).memory_info().rss - before_bytes < 100_000_000
        hurt_broker.resume()
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await asyncio.gather(*taken)
        assert log.has_room(1_000)
    assert len(read_all(hurt_broker.bootstrap, topic)) == 1_001


@pytest.mark.requirement("F5", "F37")
async def test_a_report_after_the_caller_gave_up_is_counted_and_the_record_is_there(hurt_broker: Broker) -> None:
    topic = a_stream_topic(hurt_broker.bootstrap)
    stored_late_before = late("stored")
    async with a_log(hurt_broker.bootstrap) as log:
        await log.append(topic, b"first", b"", [])
        hurt_broker.pause()
        tasks_before = len(asyncio.all_tasks())
        abandoned = [log.append(topic, b"k", str(n).encode(), []) for n in range(1_000)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*abandoned), 0.05)
        assert all(future.cancelled() for future in abandoned)
        hurt_broker.resume()
        await until(lambda: late("stored") == stored_late_before + 1_000)
        assert len(asyncio.all_tasks()) == tasks_before
    assert len(read_all(hurt_broker.bootstrap, topic)) == 1_001


@pytest.mark.requirement("F1")
async def test_a_broker_killed_and_back_loses_nothing_that_was_reported(hurt_broker: Broker) -> None:
    topic = a_stream_topic(hurt_broker.bootstrap)
    async with a_log(hurt_broker.bootstrap) as log:
        before = await asyncio.gather(*(log.append(topic, b"k", f"before-{n}".encode(), []) for n in range(200)))
        hurt_broker.kill()
        during = [log.append(topic, b"k", f"during-{n}".encode(), []) for n in range(200)]
        await until(lambda: log.unreachable is not None)
        hurt_broker.start()
        async with asyncio.timeout(GIVE_UP_SECONDS):
            after = await asyncio.gather(*during)
        await until(lambda: log.unreachable is None)
    read = {(r.partition, r.offset): r.value for r in read_all(hurt_broker.bootstrap, topic)}
    assert [read[a.partition, a.offset] for a in before] == [f"before-{n}".encode() for n in range(200)]
    assert [read[a.partition, a.offset] for a in after] == [f"during-{n}".encode() for n in range(200)]
    assert len(read) == 400


@pytest.mark.requirement("F42")
async def test_closing_sends_what_is_queued(kafka: str) -> None:
    topic = a_stream_topic(kafka)
    async with a_log(kafka, linger_ms=500) as log:
        futures = [log.append(topic, b"k", str(n).encode(), []) for n in range(100)]
        await log.close()
        assert sorted(future.result().offset for future in futures) == list(range(100))
        with pytest.raises(LogUnavailable):
            log.append(topic, b"k", b"after", [])


async def test_closing_without_a_broker_ends_in_time_and_answers_every_future(hurt_broker: Broker) -> None:
    topic = a_stream_topic(hurt_broker.bootstrap)
    async with a_log(hurt_broker.bootstrap) as log:
        await log.append(topic, b"first", b"", [])
        hurt_broker.kill()
        futures = [log.append(topic, b"k", b"", []) for _ in range(10)]
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await log.close(flush_seconds=0.2)
        assert [type(future.exception()) for future in futures] == [LogUnavailable] * 10


async def test_a_record_is_read_back_by_its_position(kafka: str) -> None:
    topic = a_stream_topic(kafka)
    async with a_log(kafka) as log:
        stored = await asyncio.gather(*(log.append(topic, b"k", str(n).encode() * 100_000, []) for n in range(5)))
        for number, appended in enumerate(stored):
            position = appended.topic, appended.partition, appended.offset
            assert await log.read(position, 10) == StoredRecord(str(number).encode() * 100_000)
        last = stored[-1]
        assert await log.read((topic, last.partition, last.offset + 1), 10) is None
        assert await log.read((topic + "-gone", 0, 0), 10) is None


async def test_reading_from_a_broker_that_does_not_answer_ends_in_time(hurt_broker: Broker) -> None:
    topic = a_stream_topic(hurt_broker.bootstrap)
    async with a_log(hurt_broker.bootstrap) as log:
        appended = await log.append(topic, b"k", b"v", [])
        hurt_broker.pause()
        with pytest.raises(LogUnavailable):
            await log.read((topic, appended.partition, appended.offset), 0.3)
        hurt_broker.resume()


class ScriptedProducer:
    """librdkafka's producer where no broker can be made to answer at will: every record is reported so."""

    error: KafkaError | None = None
    message: object = None

    def __init__(self, config: dict[str, Any]) -> None:
        self._reports: list[Callable[[], None]] = []

    def produce(self, topic: str, value: bytes, key: bytes, *, on_delivery: Any, headers: Any) -> None:
        self._reports.append(lambda: on_delivery(self.error, self.message))

    def poll(self, timeout: float) -> int:
        reports, self._reports = self._reports, []
        for report in reports:
            report()
        return len(reports)

    def list_topics(self, topic: str, timeout: float) -> None:
        """Answers, as the brokers are well."""

    def flush(self, timeout: float) -> int:
        return self.poll(0) * 0


def a_message(offset: int | None) -> Any:
    return SimpleNamespace(
        topic=lambda: STREAM_TOPIC,
        partition=lambda: 3,
        offset=lambda: offset,
        timestamp=lambda: (TIMESTAMP_CREATE_TIME, 7),
    )


class ProducerOfRepeats(ScriptedProducer):
    """No broker ever says where a record is: librdkafka has inferred that it is there, or a broker has said that it has
    the record already.
    """

    message = a_message(None)


class ProducerWhoseSecondTryIsStored(ScriptedProducer):
    """As after a topic was made: each record that is sent for the first time is only taken for stored."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._seen: set[bytes] = set()

    def produce(self, topic: str, value: bytes, key: bytes, *, on_delivery: Any, headers: Any) -> None:
        again = value in self._seen
        self._seen.add(value)
        self._reports.append(lambda: on_delivery(None, a_message(5 if again else None)))


class FailingProducer(ScriptedProducer):
    """As it is after a fatal error."""

    error = KafkaError(KafkaError._FATAL, "out of order sequence", fatal=True)


class BrokenProducer(ScriptedProducer):
    """Whose library does what nobody thought of."""

    def poll(self, timeout: float | None = None) -> int:
        raise ValueError("nobody thought of this")


@pytest.mark.requirement("F7")
async def test_a_reader_of_delivery_reports_that_fails_says_so_instead_of_being_silent() -> None:
    told: list[str] = []
    async with a_log("127.0.0.1:1", on_fatal=told.append, make_producer=BrokenProducer) as log:
        await until(lambda: bool(told))
        assert told == [log.failed] == ["the reader of delivery reports failed: ValueError('nobody thought of this')"]
        with pytest.raises(LogUnavailable):
            log.append("t", b"k", b"v", [])


@pytest.mark.requirement("F5")
async def test_a_record_of_which_no_broker_said_where_it_is_does_not_count_as_stored() -> None:
    async with a_log("127.0.0.1:1", make_producer=ProducerOfRepeats) as log:
        for may_repeat in (False, True):
            with pytest.raises(StorageUnknown):
                await log.append(STREAM_TOPIC, b"k", b"v", [], may_repeat=may_repeat)
        assert log.newest("ws_1", "live") == []


@pytest.mark.requirement("F5")
async def test_such_a_record_is_appended_once_more_where_it_may_stand_there_twice() -> None:
    async with a_log("127.0.0.1:1", make_producer=ProducerWhoseSecondTryIsStored) as log:
        with pytest.raises(StorageUnknown):
            await log.append(STREAM_TOPIC, b"k", b"once", [])
        appended = await log.append(STREAM_TOPIC, b"k", b"twice", [], may_repeat=True)
        assert (appended.topic, appended.partition, appended.offset) == (STREAM_TOPIC, 3, 5)
        assert log.newest("ws_1", "live") == [(STREAM_TOPIC, 3, 5)]
        assert log.has_room(100_000)


@pytest.mark.requirement("F7")
async def test_after_a_fatal_error_nothing_is_confirmed_any_more_and_the_process_is_told_once() -> None:
    told: list[str] = []
    async with a_log("127.0.0.1:1", on_fatal=told.append, make_producer=FailingProducer) as log:
        futures = [log.append("t", b"k", b"v", []) for _ in range(3)]
        await until(lambda: bool(told))
        for future in futures:
            with pytest.raises(LogUnavailable):
                await future
        with pytest.raises(LogUnavailable):
            log.append("t", b"k", b"v", [])
        assert log.failed is not None and len(told) == 1
