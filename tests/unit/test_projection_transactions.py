"""How batches are gathered into transactions (processors/projection/transactions.py)."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from faust.types import TP

from processors.projection import transactions as module
from processors.projection.changes import Changes
from processors.projection.transactions import Pending, Transactions
from processors.runtime.batches import Batch
from schemas.log_records import LogRecord
from schemas.read_model import LogPosition


def a_batch(
    records: int, partition: int = 0, topic: str = "decisions", first_ms: int = 0, step_ms: int = 0
) -> tuple[Batch, Changes]:
    rows = [LogRecord(topic, partition, place, first_ms + step_ms * place, None, b"", ()) for place in range(records)]
    return Batch(TP(topic, partition), rows, 1), Changes(LogPosition(topic, partition, records))


class Recorder:
    """Stands for the database: remembers the sizes of its transactions, and can be held or made to fail."""

    def __init__(self) -> None:
        self.sizes: list[list[int]] = []
        self.began = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()
        self.error: Exception | None = None

    async def write(self, group: Sequence[Pending]) -> None:
        self.sizes.append([len(pending.batch) for pending in group])
        self.began.set()
        await self.free.wait()
        if self.error is not None:
            raise self.error


@contextmanager
def running(recorder: Recorder) -> Iterator[Transactions]:
    transactions = Transactions(recorder.write)
    task = asyncio.get_running_loop().create_task(transactions.run())
    yield transactions
    task.cancel()


async def test_batches_that_come_together_share_a_transaction() -> None:
    recorder = Recorder()
    with running(recorder) as transactions:
        await asyncio.gather(*(transactions.add(*a_batch(1, partition)) for partition in range(8)))
    assert recorder.sizes == [[1] * 8]


async def test_what_comes_while_a_transaction_runs_waits_for_the_next() -> None:
    recorder = Recorder()
    recorder.free.clear()
    with running(recorder) as transactions:
        first = asyncio.ensure_future(transactions.add(*a_batch(1, 0)))
        await recorder.began.wait()
        later = [asyncio.ensure_future(transactions.add(*a_batch(2, partition))) for partition in (1, 2)]
        await asyncio.sleep(0)
        assert not first.done()
        recorder.free.set()
        await asyncio.gather(first, *later)
    assert recorder.sizes == [[1], [2, 2]]


async def test_a_transaction_holds_whole_batches_of_at_most_50_000_records_in_all() -> None:
    recorder = Recorder()
    with running(recorder) as transactions:
        sizes = [30_000, 20_000, 1, 60_000, 49_999, 1, 1]
        await asyncio.gather(*(transactions.add(*a_batch(size, place)) for place, size in enumerate(sizes)))
    assert recorder.sizes == [[30_000, 20_000], [1], [60_000], [49_999, 1], [1]]


async def test_enough_records_do_not_wait_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_SECONDS", 3_600)
    recorder = Recorder()
    with running(recorder) as transactions:
        await asyncio.gather(transactions.add(*a_batch(46_000)), transactions.add(*a_batch(4_000, 1)))
    assert recorder.sizes == [[46_000, 4_000]]


async def test_a_failure_reaches_all_of_its_transaction_and_none_of_the_next() -> None:
    recorder = Recorder()
    recorder.error = RuntimeError("broken")
    with running(recorder) as transactions:
        results = await asyncio.gather(
            *(transactions.add(*a_batch(1, partition)) for partition in range(2)), return_exceptions=True
        )
        recorder.error = None
        await transactions.add(*a_batch(1))
    assert [str(result) for result in results] == ["broken", "broken"]


async def test_who_stops_waiting_harms_nobody() -> None:
    recorder = Recorder()
    recorder.free.clear()
    with running(recorder) as transactions:
        gone = asyncio.ensure_future(transactions.add(*a_batch(1, 0)))
        stays = asyncio.ensure_future(transactions.add(*a_batch(1, 1)))
        await recorder.began.wait()
        gone.cancel()
        recorder.free.set()
        await stays
    assert gone.cancelled()


async def test_what_is_made_into_rows_ahead_of_the_transaction_that_runs_is_bounded() -> None:
    recorder = Recorder()
    recorder.free.clear()
    with running(recorder) as transactions:
        first = await transactions.put(*a_batch(1, 0))
        await recorder.began.wait()
        ahead = await transactions.put(*a_batch(50_000, 1))
        waiting = asyncio.ensure_future(transactions.put(*a_batch(1, 2)))
        await asyncio.sleep(0)
        assert (first.done(), ahead.done(), waiting.done()) == (False, False, False)
        recorder.free.set()
        await asyncio.gather(first, ahead, await waiting)
    assert recorder.sizes == [[1], [50_000], [1]]


async def test_by_the_logs_time_outcomes_come_before_decisions_and_each_partition_keeps_its_order() -> None:
    recorder = Recorder()
    recorder.free.clear()
    order: list[tuple[str, int, int]] = []

    async def write(group: Sequence[Pending]) -> None:
        order.extend((one.batch.tp.topic, one.batch.tp.partition, one.batch.records[0].timestamp) for one in group)
        await recorder.write(group)

    transactions = Transactions(write)
    task = asyncio.get_running_loop().create_task(transactions.run())
    first = await transactions.put(*a_batch(1, 9))
    await recorder.began.wait()
    came = [("decisions", 0, 10), ("decisions", 1, 30), ("decisions", 0, 5), ("outcomes", 0, 19), ("outcomes", 1, 25)]
    later = [
        await transactions.put(*a_batch(10, partition, topic, first_ms=first_ms, step_ms=1))
        for topic, partition, first_ms in came
    ]
    recorder.free.set()
    await asyncio.gather(first, *later)
    task.cancel()
    assert order[1:] == [
        *(("outcomes", 0, 19), ("decisions", 0, 10), ("decisions", 0, 5)),
        *(("outcomes", 1, 25), ("decisions", 1, 30)),
    ]
