"""What the surfaces ask of the log, held of the real one and of the one in memory that their tests stand on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from ingest_gateway.log.batches import BatchAppend
from ingest_gateway.log.event_log import EventLog, LogBusy
from schemas.partitioner import partition_for
from schemas.topics import parse_stream_topic
from tests.support.events_surface import LocalControl, LocalVerdicts, MemoryLog
from tests.support.kafka_topics import PARTITIONS, a_stream_topic, read_all
from tests.support.until import until

ROOM = 5
AWAY = "127.0.0.1:1"


@dataclass
class Held:
    """A log, a topic of its own on it, and what stands there: (partition, offset, key, value)."""

    log: Any
    topic: str
    stored: Callable[[], Awaitable[list[tuple[int, int, bytes, bytes]]]]


def in_memory(room: int = 100_000) -> Held:
    log = MemoryLog(LocalControl(), LocalVerdicts("", max_waiters=1), decides=False)
    log.room = room

    async def stored() -> list[tuple[int, int, bytes, bytes]]:
        return [(one.appended.partition, one.appended.offset, one.key, one.value) for one in log.records]

    return Held(log, "events.ws_0000000001.live.orders", stored)


async def on_kafka(bootstrap: str) -> Held:
    log, topic = EventLog(bootstrap), await asyncio.to_thread(a_stream_topic, bootstrap)

    async def stored() -> list[tuple[int, int, bytes, bytes]]:
        records = await asyncio.to_thread(read_all, bootstrap, topic)
        return [(one.partition, one.offset, one.key or b"", one.value or b"") for one in records]

    return Held(log, topic, stored)


@pytest.fixture(params=["memory", "kafka"])
async def held(request: pytest.FixtureRequest) -> AsyncIterator[Held]:
    if request.param == "memory":
        yield in_memory()
        return
    held = await on_kafka(request.getfixturevalue("kafka"))
    held.log.start()
    yield held
    await held.log.close()


@pytest.fixture(params=["memory", "kafka"])
async def full(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """One that has room for a few, and confirms none."""
    if request.param == "memory":
        log = in_memory(ROOM).log
        log.confirms = False
        yield log
        return
    log = EventLog(AWAY, queue_messages_max=ROOM)
    log.start()
    yield log
    await log.close(0)


KEYS = [b"one", b"two", b"three"]


def appended(held: Held, count: int = 12) -> list["asyncio.Future[Any]"]:
    return [held.log.append(held.topic, KEYS[number % 3], b"%d" % number, []) for number in range(count)]


async def test_a_record_stands_where_its_key_says_behind_those_before_it(held: Held) -> None:
    places = await asyncio.gather(*appended(held))
    offsets: dict[int, int] = {}
    times: dict[int, int] = {}
    for number, place in enumerate(places):
        partition = partition_for(KEYS[number % 3], PARTITIONS)
        assert (place.topic, place.partition, place.offset) == (held.topic, partition, offsets.get(partition, 0))
        assert place.timestamp_ms >= times.get(partition, 0)
        offsets[partition], times[partition] = place.offset + 1, place.timestamp_ms
    expected = [(one.partition, one.offset, KEYS[n % 3], b"%d" % n) for n, one in enumerate(places)]
    assert sorted(await held.stored()) == sorted(expected)


async def test_the_newest_of_a_workspaces_streams_are_known_once_confirmed(held: Held) -> None:
    scope = parse_stream_topic(held.topic)
    assert scope is not None and held.log.newest(scope.workspace, scope.environment) == []
    places = await asyncio.gather(*appended(held))
    last = {place.partition: place.offset for place in places}
    assert sorted(held.log.newest(scope.workspace, scope.environment)) == sorted(
        (held.topic, partition, offset) for partition, offset in last.items()
    )
    assert held.log.newest(scope.workspace, "test") == []


def in_one(held: Held, count: int = 12) -> BatchAppend:
    values = [b"%d" % number for number in range(count)]
    batch: BatchAppend = held.log.append_all(held.topic, [KEYS[n % 3] for n in range(count)], values, [[]] * count)
    return batch


def soon() -> float:
    return asyncio.get_running_loop().time() + 30


async def test_many_records_at_once_stand_as_one_after_the_other(held: Held) -> None:
    batch = in_one(held)
    assert (batch.records, batch.queued, batch.refusal) == (12, 12, None)
    await batch.wait(soon())
    stored = sorted(await held.stored())
    for number, key in enumerate(KEYS):
        mine = [value for _, _, record_key, value in stored if record_key == key]
        assert mine == [b"%d" % n for n in range(number, 12, 3)]
    times = [batch.timestamp_ms(number) for number in range(12)]
    assert None not in times
    scope = parse_stream_topic(held.topic)
    assert scope is not None
    last = {partition: offset for partition, offset, _, _ in stored}
    assert sorted(held.log.newest(scope.workspace, scope.environment)) == sorted(
        (held.topic, partition, offset) for partition, offset in last.items()
    )


async def test_a_batch_that_is_given_up_takes_nothing_back_and_changes_no_answer(held: Held) -> None:
    batch = in_one(held)
    await batch.wait(0.0)
    answered = [batch.timestamp_ms(number) for number in range(12)]
    async with asyncio.timeout(30):
        while len(await held.stored()) < 12:  # noqa: ASYNC110 it is asked
            await asyncio.sleep(0.05)
    assert [batch.timestamp_ms(number) for number in range(12)] == answered


async def test_of_a_batch_only_those_are_queued_that_there_is_room_for(full: Any) -> None:
    count = ROOM + 3
    batch = full.append_all("events.ws_1.live.orders", [b"key"] * count, [b"value"] * count, [[]] * count)
    assert batch.queued == ROOM and isinstance(batch.refusal, LogBusy)
    assert not full.has_room(1)
    more = full.append_all("events.ws_1.live.orders", [b"key"], [b"value"], [[]])
    assert more.queued == 0 and isinstance(more.refusal, LogBusy)
    await more.wait(soon())
    assert more.timestamp_ms(0) is None


async def test_who_gives_up_waiting_takes_nothing_back(held: Held) -> None:
    given_up, kept = appended(held, 2)
    given_up.cancel()
    await kept
    async with asyncio.timeout(30):
        while len(await held.stored()) < 2:  # noqa: ASYNC110 it is asked
            await asyncio.sleep(0.05)


async def test_what_there_is_no_room_for_is_refused_whole(full: Any) -> None:
    assert full.has_room(ROOM) and not full.has_room(ROOM + 1)
    waiting = [full.append("events.ws_1.live.orders", b"key", b"value", []) for _ in range(ROOM)]
    assert not full.has_room(1)
    with pytest.raises(LogBusy):
        full.append("events.ws_1.live.orders", b"key", b"value", [])
    await until(lambda: not any(one.done() for one in waiting))
    for one in waiting:
        one.cancel()
