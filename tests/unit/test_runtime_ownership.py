"""Whose a table's partition is, across rebalances: what was or may have been another worker's is recovered anew."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from processors.runtime.errors import Abandoned, TableRefused
from processors.runtime.table import TablePartition, TableSpec
from processors.runtime.tables import Opened, Tables

SPEC = TableSpec("seen", "admission-seen-changelog", 26 * 3_600)
TOPIC_ID = b"0123456789abcdef"


class LocalTables(Tables):
    """Real databases without a broker: recovery finds nothing new, and may be held back."""

    def __init__(self, directory: Path) -> None:
        super().__init__("127.0.0.1:1", directory, lambda _partition: None)
        self.declare(SPEC)
        self.recovered: list[int] = []
        self.began = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.may_end.set()
        self.refuses: set[int] = set()
        self.answers: list[KafkaException] = []
        """What the next attempts meet instead."""

    def _open(self, partition: int) -> Opened:
        self.recovered.append(partition)
        self.began.release()
        assert self.may_end.wait(20)
        if self.answers:
            raise self.answers.pop(0)
        if partition in self.refuses:
            raise TableRefused(f"partition {partition}")
        return {SPEC.name: (TablePartition(SPEC, self._directory / str(partition), self._cache), TOPIC_ID)}


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[LocalTables]:
    tables = LocalTables(tmp_path)
    yield tables
    tables.close()


def is_open(tables: Tables, partition: int) -> bool:
    return tables.opened(partition) != {}


@pytest.mark.requirement("F17", "F21")
async def test_what_is_assigned_is_opened_once_and_what_is_lost_is_closed(tables: LocalTables) -> None:
    await tables.keep({0, 1, 2}, generation=1)
    assert tables.unopened() == 3
    await tables.open_all([0, 1, 2])
    assert (sorted(tables.recovered), tables.unopened()) == ([0, 1, 2], 0)
    await tables.keep({1, 2, 3}, generation=2)
    assert [is_open(tables, partition) for partition in range(4)] == [False, True, True, False]
    await tables.open_all([1, 2, 3])
    assert tables.recovered[3:] == [3], "what stayed is not recovered again"


@pytest.mark.requirement("F16", "F28")
async def test_who_missed_a_generation_recovers_all_of_it_anew(tables: LocalTables) -> None:
    """In the generation in between another worker may have owned them, and written."""
    await tables.keep({0, 1}, generation=4)
    await tables.open_all([0, 1])
    await tables.keep({0, 1}, generation=6)
    assert not is_open(tables, 0) and not is_open(tables, 1)
    await tables.open_all([0, 1])
    assert sorted(tables.recovered) == [0, 0, 1, 1]


@pytest.mark.requirement("F16")
@pytest.mark.parametrize(
    ("later", "is_mine", "recoveries"),
    [
        ([({1}, 2)], False, 1),  # lost while it was being recovered
        ([({1}, 2), ({0, 1}, 3)], True, 2),  # lost, and back: another worker had it in between
        ([({0, 1}, 3)], True, 2),  # back after a generation that was missed
        ([({0, 1}, 2)], True, 1),  # never away
    ],
)
async def test_a_rebalance_during_recovery(
    tables: LocalTables, later: list[tuple[set[int], int]], is_mine: bool, recoveries: int
) -> None:
    await tables.keep({0, 1}, generation=1)
    tables.may_end.clear()
    opening = asyncio.create_task(tables.open(0))
    assert await asyncio.to_thread(tables.began.acquire, timeout=20)
    for partitions, generation in later:
        await tables.keep(partitions, generation)
    tables.may_end.set()
    assert await opening is is_mine
    assert is_open(tables, 0) is is_mine
    assert tables.recovered == [0] * recoveries


async def test_who_is_cancelled_leaves_its_recovery_to_who_comes_next(tables: LocalTables) -> None:
    """A thread can't be cancelled: two of them for one database, each would wait for the other to give up its lock."""
    await tables.keep({0}, generation=1)
    tables.may_end.clear()
    first = asyncio.create_task(tables.open(0))
    assert await asyncio.to_thread(tables.began.acquire, timeout=20)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(tables.open(0))
    await asyncio.sleep(0)
    tables.may_end.set()
    assert await second and is_open(tables, 0)
    assert tables.recovered == [0]


async def test_one_that_is_refused_does_not_close_the_others(tables: LocalTables) -> None:
    tables.refuses = {1}
    await tables.keep({0, 1}, generation=1)
    with pytest.raises(ExceptionGroup) as refused:
        await tables.open_all([0, 1])
    assert refused.value.subgroup(TableRefused) is not None
    assert not is_open(tables, 1)
    assert await tables.open(0)


@pytest.mark.requirement("F16")
async def test_what_was_given_up_is_closed_opened_by_nobody_and_recovered_once_it_is_assigned_again(
    tables: LocalTables,
) -> None:
    """Also where the group gives the same back with the next generation: what was on its way may be on the log."""
    await tables.keep({0, 1}, generation=1)
    await tables.open(0)
    tables.may_end.clear()
    opening = asyncio.create_task(tables.open(1))
    assert await asyncio.to_thread(lambda: [tables.began.acquire(timeout=20) for _ in range(2)])
    tables.lose_all()
    tables.may_end.set()
    assert await opening is False
    assert await tables.open(0) is False
    assert not is_open(tables, 0) and not is_open(tables, 1)
    with pytest.raises(Abandoned):
        tables.views(0)
    await tables.keep({0, 1}, generation=2)
    await tables.open_all([0, 1])
    assert sorted(tables.recovered) == [0, 0, 1, 1]
    assert tables.views(0).keys() == {SPEC.name}


async def test_recovery_waits_for_a_broker_that_is_away_and_stops_when_the_partition_is_gone(
    tables: LocalTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.runtime.tables.AGAIN_SECONDS", 0.01)
    away = [KafkaError._TRANSPORT, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._TIMED_OUT]
    tables.answers = [KafkaException(KafkaError(code)) for code in away]
    await tables.keep({0}, generation=1)
    assert await tables.open(0)
    assert tables.recovered == [0, 0, 0, 0]
    await tables.keep(set(), generation=2)
    tables.answers = [KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))]
    await tables.keep({0}, generation=3)
    with pytest.raises(KafkaException):
        await tables.open(0)
