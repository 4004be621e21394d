"""The fetcher's queues, without a broker: batches in order, one a partition, bounded in records and in bytes."""

from collections.abc import Iterator

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.runtime.batches import Batch
from processors.runtime.fetch_queues import FetchQueues
from processors.runtime.fetched_records import FetchedRecords, weight_of, weight_of_all
from schemas.log_records import LogRecord

BATCH_WEIGHT_MAX, AHEAD_WEIGHT_MAX = 40, 240  # a hundredth of what is real, to be quick
PARTITIONS = [TP("t", number) for number in range(3)]
LARGE_BYTES = 40_000  # weighs 10


@pytest.fixture(autouse=True, scope="module")
def small_bounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processors.runtime.fetched_records.BATCH_WEIGHT_MAX", BATCH_WEIGHT_MAX)
        patch.setattr("processors.runtime.fetch_queues.AHEAD_WEIGHT_MAX", AHEAD_WEIGHT_MAX)
        yield


def records_of(tp: TP, first: int, count: int, size_bytes: int = 1) -> list[LogRecord]:
    value = bytes(size_bytes)
    return [LogRecord(tp.topic, tp.partition, first + number, 0, None, value, ()) for number in range(count)]


class Bench:
    """The queues, and what of each partition was put in and handed out."""

    def __init__(self) -> None:
        self.queues = FetchQueues()
        self.put_in = dict.fromkeys(PARTITIONS, 0)
        self.handed: dict[TP, list[int]] = {tp: [] for tp in PARTITIONS}
        self.out: dict[TP, Batch] = {}
        self.resumed: list[TP] = []
        self.queues.assign(set(PARTITIONS))

    def put(self, tp: TP, count: int, size_bytes: int = 1) -> None:
        records = records_of(tp, self.put_in[tp], count, size_bytes)
        self.put_in[tp] += count
        self.put_fetched_at(self.queues.epoch, tp, records)

    def put_fetched_at(self, epoch: int, tp: TP, records: list[LogRecord]) -> None:
        weight = weight_of_all(records)
        self.queues.offer(weight)
        self.queues.put(epoch, {tp: records}, {tp: weight})

    def take(self) -> list[Batch]:
        batches = list(self.queues.take().values())
        for batch in batches:
            assert batch.tp not in self.out, "one batch a partition at a time"
            weight = sum(map(weight_of, batch.records))
            assert weight <= BATCH_WEIGHT_MAX or len(batch) == 1
            self.out[batch.tp] = batch
            self.handed[batch.tp] += [record.offset for record in batch.records]
        return batches

    def release(self, tp: TP) -> None:
        if tp in self.out and self.queues.release(self.out.pop(tp)):
            self.resumed.append(tp)

    def check(self) -> None:
        """What counts towards the bound is what waits in partitions that are not paused."""
        queues = self.queues
        assert queues.weight == sum(queues.weight_of(tp) for tp in queues.assigned - queues.paused)
        for tp in PARTITIONS:
            assert self.handed[tp] == list(range(len(self.handed[tp]))), "in order, each once"
            assert len(self.handed[tp]) + queues.waiting(tp) == self.put_in[tp], "none lost"


STEPS = st.lists(
    st.tuples(st.just("put"), st.sampled_from(PARTITIONS), st.sampled_from([1, 39, 40, 41, 90]))
    | st.tuples(st.just("put large"), st.sampled_from(PARTITIONS), st.integers(1, 12))
    | st.tuples(st.sampled_from(["take", "release", "look"]), st.sampled_from(PARTITIONS), st.just(0)),
    max_size=20,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_records_are_handed_out_in_order_once_and_bounds_are_kept(steps: list[tuple[str, TP, int]]) -> None:
    bench = Bench()
    for what, tp, count in steps:
        if what == "put":
            bench.put(tp, count)
        elif what == "put large":
            bench.put(tp, count, LARGE_BYTES)
        elif what == "take":
            bench.take()
        elif what == "release":
            bench.release(tp)
        else:
            bench.queues.pause_the_stuck()
        bench.check()
    for _ in range(200):
        for tp in PARTITIONS:
            bench.release(tp)
        if not bench.take():
            break
    bench.check()
    assert bench.queues.weight == 0 and not bench.queues.paused
    assert {tp: len(offsets) for tp, offsets in bench.handed.items()} == bench.put_in


@pytest.mark.parametrize(("count", "size_bytes"), [(AHEAD_WEIGHT_MAX, 1), (30, LARGE_BYTES)], ids=["small", "large"])
def test_past_the_bound_nothing_more_is_fetched_until_batches_are_taken(count: int, size_bytes: int) -> None:
    bench = Bench()
    assert not bench.queues.is_full
    bench.put(PARTITIONS[0], count, size_bytes)
    bench.put(PARTITIONS[1], 1)
    assert bench.queues.is_full
    while bench.queues.is_full:
        assert bench.take()
        for tp in PARTITIONS:
            bench.release(tp)


def test_a_partition_that_holds_the_others_up_is_paused_and_resumed_when_short() -> None:
    bench = Bench()
    slow, other = PARTITIONS[:2]
    bench.put(slow, AHEAD_WEIGHT_MAX + BATCH_WEIGHT_MAX + 1)
    bench.put(other, 10)
    bench.take()
    bench.release(other)
    assert bench.queues.pause_the_stuck() == [slow]
    assert not bench.queues.is_full, "the others are fetched on"
    while slow in bench.queues.paused:
        assert bench.resumed == []
        bench.release(slow)
        bench.take()
    assert bench.resumed == [slow]


def test_what_was_fetched_for_an_assignment_that_is_gone_is_dropped_and_not_counted() -> None:
    bench = Bench()
    bench.put(PARTITIONS[0], 10)
    [batch] = bench.take()
    bench.put(PARTITIONS[1], 10)
    old = bench.queues.epoch
    bench.queues.assign({PARTITIONS[2]})
    bench.put_fetched_at(old, PARTITIONS[2], records_of(PARTITIONS[2], 0, 1))
    assert not bench.queues.owns(batch)
    assert bench.queues.take() == {}
    assert bench.queues.weight == 0
    assert not bench.queues.release(batch)
    assert bench.queues.in_flight() == 0


def test_a_partition_that_is_added_leaves_all_others_as_they_are() -> None:
    bench = Bench()
    busy, new = PARTITIONS[0], TP("new", 1)
    bench.put(busy, 3)
    [batch] = bench.take()
    bench.put(busy, 4)
    bench.queues.add({new})
    assert bench.queues.owns(batch)
    assert bench.queues.unread() == set(PARTITIONS), "a new topic makes nobody less ready"
    bench.release(busy)
    [batch] = bench.take()
    assert (batch.first_offset, len(batch)) == (3, 4)


def test_a_partition_that_is_removed_and_comes_back_is_another_one() -> None:
    """A topic of the same name that was made again: what was fetched or handed out of the former counts no more."""
    bench = Bench()
    gone, kept = PARTITIONS[0], PARTITIONS[1]
    for tp in (gone, kept):
        bench.put(tp, 10)
    batches = {batch.tp: batch for batch in bench.take()}
    bench.put(gone, 10)
    before = bench.queues.epoch
    bench.queues.remove({gone})
    assert (bench.queues.owns(batches[gone]), bench.queues.owns(batches[kept])) == (False, True)
    assert (bench.queues.weight, bench.queues.in_flight()) == (0, 1)
    bench.queues.add({gone})
    bench.put_fetched_at(before, gone, records_of(gone, 20, 1))
    bench.put_fetched_at(bench.queues.epoch, gone, records_of(gone, 0, 1))
    assert not bench.queues.release(batches[gone])
    [batch] = bench.queues.take().values()
    assert [record.offset for record in batch.records] == [0]
    assert bench.queues.weight == 0


def test_a_record_above_the_bound_is_a_batch_by_itself() -> None:
    waiting = FetchedRecords()
    large = records_of(PARTITIONS[0], 0, 2, 20 * LARGE_BYTES)
    waiting.extend(large, sum(map(weight_of, large)))
    assert [len(waiting.take()[0]) for _ in large] == [1, 1]
    assert (len(waiting), waiting.weight) == (0, 0)


@pytest.mark.requirement("F31")
def test_partitions_with_nothing_here_are_idle_unless_others_keep_the_worker_busy() -> None:
    bench = Bench()
    queues, (quiet, busy, other) = bench.queues, PARTITIONS
    bench.put(busy, 1)
    assert queues.idle() == {quiet, other}
    bench.take()
    assert queues.idle() == {quiet, other}, "one with a batch handed out is not idle"
    bench.release(busy)
    assert queues.idle() == set(PARTITIONS)
    queues.offer(AHEAD_WEIGHT_MAX * 100)
    assert queues.idle() == set()


@pytest.mark.parametrize("handled", [False, True], ids=["fetched", "handled"])
def test_a_partition_is_read_once_all_that_was_fetched_to_its_end_is_handled(handled: bool) -> None:
    bench = Bench()
    queues, (busy, empty, unknown) = bench.queues, PARTITIONS
    bench.put(busy, 3)
    queues.note_ends(queues.epoch, [busy, empty])
    assert queues.unread() == {busy, unknown} and queues.fetched_to_end() == {busy}
    assert queues.unbegun() == {busy, unknown}
    bench.take()
    assert queues.unbegun() == {unknown}
    if handled:
        bench.release(busy)
    assert queues.unread() == {unknown} | (set() if handled else {busy})
