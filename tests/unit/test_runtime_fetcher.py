"""The fetcher's queues, without a broker: batches in order, one a partition, bounded in records and in bytes.

`_offer` is what the fetcher's thread calls with the messages it got; here the test calls it.
"""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.runtime.batches import Batch, to_record
from processors.runtime.fetched_records import FetchedRecords, weight_of
from processors.runtime.fetcher import Fetcher
from processors.runtime.transport import Consumer

BATCH_WEIGHT_MAX, AHEAD_WEIGHT_MAX = 40, 240  # a hundredth of what is real, to be quick
PARTITIONS = [TP("t", number) for number in range(3)]
LARGE_BYTES = 40_000  # weighs 10


@pytest.fixture(autouse=True, scope="module")
def small_bounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processors.runtime.fetched_records.BATCH_WEIGHT_MAX", BATCH_WEIGHT_MAX)
        patch.setattr("processors.runtime.fetcher.AHEAD_WEIGHT_MAX", AHEAD_WEIGHT_MAX)
        yield


class Unfetched(Fetcher):
    """Its thread does nothing."""

    def _run(self) -> None:
        self._consumer.close()


def message(tp: TP, offset: int, value: bytes) -> Any:
    return SimpleNamespace(
        error=lambda: None,
        topic=lambda: tp.topic,
        partition=lambda: tp.partition,
        offset=lambda: offset,
        timestamp=lambda: (2, 0),
        key=lambda: None,
        value=lambda: value,
        headers=lambda: None,
    )


class Bench:
    """A fetcher, and what of each partition was offered and handed out."""

    def __init__(self) -> None:
        self.fetcher = Unfetched("127.0.0.1:1", "test")
        self.offered = dict.fromkeys(PARTITIONS, 0)
        self.handed: dict[TP, list[int]] = {tp: [] for tp in PARTITIONS}
        self.out: dict[TP, Batch] = {}
        self.fetcher.assign(dict.fromkeys(PARTITIONS))

    async def offer(self, tp: TP, count: int, size_bytes: int = 1) -> None:
        value = bytes(size_bytes)
        first = self.offered[tp]
        self.offered[tp] += count
        self.fetcher._offer(self.fetcher.epoch, [message(tp, first + number, value) for number in range(count)])
        await asyncio.sleep(0)

    def take(self) -> list[Batch]:
        batches = list(self.fetcher._take(None).values())
        for batch in batches:
            assert batch.tp not in self.out, "one batch a partition at a time"
            weight = sum(map(weight_of, batch.records))
            assert weight <= BATCH_WEIGHT_MAX or len(batch) == 1
            self.out[batch.tp] = batch
            self.handed[batch.tp] += [record.offset for record in batch.records]
        return batches

    def release(self, tp: TP) -> None:
        if tp in self.out:
            self.fetcher.release(self.out.pop(tp))

    def ahead(self) -> int:
        return self.fetcher._offered - self.fetcher._taken

    def close(self) -> None:
        if self.fetcher._pausing is not None:
            self.fetcher._pausing.cancel()

    def check(self) -> None:
        """What counts towards the bound is what waits in partitions that are not paused."""
        waiting = self.fetcher._waiting
        assert self.ahead() == sum(one.weight for tp, one in waiting.items() if tp not in self.fetcher._paused)
        for tp in PARTITIONS:
            assert self.handed[tp] == list(range(len(self.handed[tp]))), "in order, each once"
            assert len(self.handed[tp]) + len(waiting[tp]) == self.offered[tp], "none lost"


STEPS = st.lists(
    st.tuples(st.just("offer"), st.sampled_from(PARTITIONS), st.sampled_from([1, 39, 40, 41, 90]))
    | st.tuples(st.just("offer large"), st.sampled_from(PARTITIONS), st.integers(1, 12))
    | st.tuples(st.sampled_from(["take", "release", "look"]), st.sampled_from(PARTITIONS), st.just(0)),
    max_size=20,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_records_are_handed_out_in_order_once_and_bounds_are_kept(steps: list[tuple[str, TP, int]]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, TP, int]]) -> None:
    bench = Bench()
    for what, tp, count in steps:
        if what == "offer":
            await bench.offer(tp, count)
        elif what == "offer large":
            await bench.offer(tp, count, LARGE_BYTES)
        elif what == "take":
            bench.take()
        elif what == "release":
            bench.release(tp)
        else:
            bench.fetcher._pause_the_stuck()
        bench.check()
    for _ in range(200):
        for tp in PARTITIONS:
            bench.release(tp)
        if not bench.take():
            break
    bench.check()
    assert bench.ahead() == 0 and not bench.fetcher._paused
    assert {tp: len(offsets) for tp, offsets in bench.handed.items()} == bench.offered
    bench.close()


@pytest.mark.parametrize(("count", "size_bytes"), [(AHEAD_WEIGHT_MAX, 1), (30, LARGE_BYTES)], ids=["small", "large"])
async def test_past_the_bound_nothing_more_is_fetched_until_batches_are_taken(count: int, size_bytes: int) -> None:
    bench = Bench()
    assert not bench.fetcher._is_full()
    await bench.offer(PARTITIONS[0], count, size_bytes)
    await bench.offer(PARTITIONS[1], 1)
    assert bench.fetcher._is_full()
    while bench.fetcher._is_full():
        assert bench.take()
        for tp in PARTITIONS:
            bench.release(tp)
    bench.close()


async def test_a_partition_that_holds_the_others_up_is_paused_and_resumed_when_short() -> None:
    bench = Bench()
    slow, other = PARTITIONS[:2]
    await bench.offer(slow, AHEAD_WEIGHT_MAX + BATCH_WEIGHT_MAX + 1)
    await bench.offer(other, 10)
    bench.take()
    bench.release(other)
    bench.fetcher._pause_the_stuck()
    assert bench.fetcher._paused == {slow}
    assert not bench.fetcher._is_full(), "the others are fetched on"
    while slow in bench.fetcher._paused:
        bench.release(slow)
        bench.take()
    orders = [order for order, _ in bench.fetcher._orders]
    assert orders == ["assign", "pause", "resume"]
    bench.close()


async def test_what_was_fetched_for_an_assignment_that_is_gone_is_dropped_and_not_counted() -> None:
    bench = Bench()
    await bench.offer(PARTITIONS[0], 10)
    [batch] = bench.take()
    await bench.offer(PARTITIONS[1], 10)
    old = bench.fetcher.epoch
    bench.fetcher.assign({PARTITIONS[2]: 5})
    bench.fetcher._offer(old, [message(PARTITIONS[2], 0, b"late")])
    await asyncio.sleep(0)
    assert not bench.fetcher.owns(batch)
    assert bench.fetcher._take(None) == {}
    assert bench.ahead() == 0
    bench.fetcher.release(batch)
    assert bench.fetcher.in_flight() == 0


async def test_a_partition_that_is_added_leaves_all_others_as_they_are() -> None:
    bench = Bench()
    busy, new = PARTITIONS[0], TP("new", 1)
    await bench.offer(busy, 3)
    [batch] = bench.take()
    await bench.offer(busy, 4)
    bench.fetcher.add({new: 0, busy: 0})
    assert bench.fetcher.owns(batch)
    assert bench.fetcher.unread() == set(PARTITIONS), "a new topic makes nobody less ready"
    bench.release(busy)
    [batch] = bench.take()
    assert (batch.first_offset, len(batch)) == (3, 4)
    assert [(order, [TP(p.topic, p.partition) for p in tps]) for order, tps in bench.fetcher._orders][1:] == [
        ("add", [new])
    ]


async def test_a_partition_that_is_removed_and_comes_back_is_another_one() -> None:
    """A topic of the same name that was made again: what was fetched or handed out of the former counts no more."""
    bench = Bench()
    gone, kept = PARTITIONS[0], PARTITIONS[1]
    for tp in (gone, kept):
        await bench.offer(tp, 10)
    batches = {batch.tp: batch for batch in bench.take()}
    await bench.offer(gone, 10)
    before = bench.fetcher.epoch
    bench.fetcher.remove({gone, TP("never", 0)})
    assert (bench.fetcher.owns(batches[gone]), bench.fetcher.owns(batches[kept])) == (False, True)
    assert (bench.ahead(), bench.fetcher.in_flight()) == (0, 1)
    bench.fetcher.add({gone: 0})
    bench.fetcher._offer(before, [message(gone, 20, b"of the former")])
    bench.fetcher._offer(bench.fetcher.epoch, [message(gone, 0, b"new")])
    await asyncio.sleep(0)
    bench.fetcher.release(batches[gone])
    [batch] = bench.fetcher._take(None).values()
    assert [record.value for record in batch.records] == [b"new"]
    assert bench.ahead() == 0


async def test_a_batch_is_waited_for() -> None:
    bench = Bench()
    waiting = asyncio.get_running_loop().create_task(bench.fetcher.batches(None, 20))
    await asyncio.sleep(0)
    await bench.offer(PARTITIONS[1], 2)
    assert {tp: len(batch) for tp, batch in (await waiting).items()} == {PARTITIONS[1]: 2}
    assert await bench.fetcher.batches(None, 0.01) == {}


def test_a_record_above_the_bound_is_a_batch_by_itself() -> None:
    waiting = FetchedRecords()
    large = [to_record(message(PARTITIONS[0], number, bytes(20 * LARGE_BYTES))) for number in range(2)]
    waiting.extend(large, sum(map(weight_of, large)))
    assert [len(waiting.take()[0]) for _ in large] == [1, 1]
    assert (len(waiting), waiting.weight) == (0, 0)


@pytest.mark.requirement("F31")
async def test_partitions_whose_records_do_not_come_are_told_unless_others_keep_it_busy() -> None:
    bench = Bench()
    fetcher, (stuck, busy, done) = bench.fetcher, PARTITIONS
    fetcher.assign(dict.fromkeys(PARTITIONS, 0))
    fetcher._behind, fetcher._read_to = {stuck: 3, busy: 9, done: 0}, {stuck: 7, busy: 1, done: 5}
    fetcher._accept(fetcher.epoch, {busy: [to_record(message(busy, 0, b""))]}, {busy: 1})
    assert fetcher.due_and_idle() == {stuck: 7}
    [batch] = (await fetcher.batches(None, 1)).values()
    assert fetcher.due_and_idle() == {stuck: 7}, "one with a batch handed out is not idle"
    fetcher.release(batch)
    assert fetcher.due_and_idle() == {stuck: 7, busy: 1}
    fetcher._offered += AHEAD_WEIGHT_MAX * 100
    assert fetcher.due_and_idle() == {}
    await fetcher.stop()


class Acked:
    def __init__(self, tp: TP, offset: int) -> None:
        self.tp, self.offset, self.acked = tp, offset, False


@pytest.mark.requirement("F19")
def test_what_is_committed_is_what_was_confirmed_whatever_faust_acks() -> None:
    """Faust 0.15.3 can name an offset behind one that is still in flight."""
    consumer = Consumer.__new__(Consumer)
    consumer._confirmed, consumer._unacked_messages = {}, set()  # type: ignore[assignment]
    consumer._committed, consumer._beside = {}, set()
    tp = PARTITIONS[0]
    for offset in (2_586, 2_587, 2_588, 2_589):
        consumer.ack(Acked(tp, offset))
    assert consumer._due(keeping=False) == {}, "2,585 is in flight, and nothing was confirmed"
    consumer.confirm(tp, 2_585)
    assert consumer._due(keeping=False) == {tp: 2_585}
    consumer.confirm(tp, 2_590)
    consumer.confirm(tp, 2_587)
    assert consumer._due(keeping=False) == {tp: 2_590}, "it never goes back"
    consumer._committed[tp] = 2_590
    assert consumer._due(keeping=False) == {}


def test_offsets_beside_the_subscription_are_committed_again_before_a_broker_forgets_them() -> None:
    consumer = Consumer.__new__(Consumer)
    subscribed, silent, busy = PARTITIONS
    consumer._beside = {silent, busy}
    consumer._committed = {subscribed: 1, silent: 7, busy: 8}
    consumer._confirmed = {subscribed: 1, busy: 9}
    assert consumer._due(keeping=False) == {busy: 9}
    assert consumer._due(keeping=True) == {silent: 7, busy: 9}
