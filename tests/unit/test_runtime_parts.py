"""Small parts of the runtime: turns, telling, progress, dead letters, joined batches, sparse log lines."""

import asyncio
import logging
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from operations.logs import Sparse
from processors.runtime.batches import Batch, joined
from processors.runtime.outbox import OutboxFailed
from processors.runtime.telling import Telling
from processors.runtime.turns import TURN_RECORDS_MAX, Turns
from processors.runtime.watchdog import Progress
from processors.runtime.work import DEAD_VALUE_BYTES_MAX, dead_letter_of
from schemas.log_records import LogRecord
from schemas.records import DeadLetter


def a_record(topic: str = "t", partition: int = 0, offset: int = 0, **changes: Any) -> LogRecord:
    fields: dict[str, Any] = {"timestamp": 1_779_114_131_482, "key": b"k", "value": b"v", "headers": (), **changes}
    return LogRecord(topic=topic, partition=partition, offset=offset, **fields)


def a_batch(topic: str, partition: int, records: int = 1) -> Batch:
    return Batch(TP(topic, partition), [a_record(topic, partition, offset) for offset in range(records)], epoch=1)


class Handled:
    """Takes turns slowly: each waits until the test lets it go on."""

    def __init__(self) -> None:
        self.turns: list[list[str]] = []
        self.running: set[int] = set()
        self.gates: list[asyncio.Event] = []
        self.turns_of = Turns(self._handle)

    async def _handle(self, batches: list[Batch]) -> None:
        [partition] = {batch.tp.partition for batch in batches}
        assert partition not in self.running, "one turn of a partition at a time"
        self.running.add(partition)
        self.turns.append([f"{batch.tp.topic}/{batch.tp.partition}" for batch in batches])
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        self.running.discard(partition)

    def start(self, batch: Batch) -> "asyncio.Task[None]":
        return asyncio.get_running_loop().create_task(self.turns_of.take(batch))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.requirement("K11")
async def test_topics_of_one_partition_take_turns_and_what_waits_goes_together() -> None:
    handled = Handled()
    tasks = [handled.start(a_batch(topic, 3)) for topic in "abc"]
    tasks.append(handled.start(a_batch("a", 4)))
    await settle()
    assert handled.turns == [["a/3"], ["a/4"]], "another partition number does not wait"
    tasks.append(handled.start(a_batch("d", 3)))
    handled.gates[0].set()
    await settle()
    assert handled.turns[2:] == [["b/3", "c/3", "d/3"]]
    for gate in handled.gates:
        gate.set()
    await asyncio.gather(*tasks)
    await asyncio.gather(handled.start(a_batch("a", 3)), release_next(handled))
    assert handled.turns[-1] == ["a/3"]


async def release_next(handled: Handled) -> None:
    await settle()
    handled.gates[-1].set()


async def test_a_turn_has_a_bound_and_one_batch_at_least() -> None:
    handled = Handled()
    tasks = [handled.start(a_batch("first", 0))]
    sizes = {"a": TURN_RECORDS_MAX - 1, "b": 1, "c": 1, "d": 2 * TURN_RECORDS_MAX, "e": 1}
    await settle()
    tasks += [handled.start(a_batch(topic, 0, size)) for topic, size in sizes.items()]
    for _ in range(5):
        await settle()
        handled.gates[-1].set()
    await asyncio.gather(*tasks)
    assert handled.turns == [["first/0"], ["a/0", "b/0"], ["c/0"], ["d/0"], ["e/0"]]


def test_joined_batches_keep_topic_after_topic_in_order() -> None:
    batches = [a_batch("a", 1, 3), a_batch("b", 1, 2)]
    whole = joined(batches)
    assert [(record.topic, record.offset) for record in whole.records] == [
        *(("a", offset) for offset in range(3)),
        *(("b", offset) for offset in range(2)),
    ]
    assert whole.tp.partition == 1
    assert joined(batches[:1]) is batches[0]


@pytest.mark.requirement("F30")
@pytest.mark.parametrize(
    ("story", "looks", "stalled"),
    [
        ("idle", [(0, 0, 10.0), (0, 0, 100.0)], 0.0),
        ("work, and done", [(5, 0, 10.0), (5, 9, 50.0), (5, 20, 100.0)], 0.0),
        ("work, and none done", [(5, 7, 10.0), (5, 7, 50.0), (9, 7, 100.0)], 90.0),
        ("done again at last", [(5, 7, 10.0), (5, 7, 80.0), (5, 8, 100.0)], 0.0),
        ("idle first, then stuck", [(0, 7, 10.0), (0, 7, 80.0), (5, 7, 100.0)], 20.0),
        ("caught up, then stuck anew", [(5, 7, 10.0), (0, 7, 80.0), (1, 7, 85.0), (1, 7, 100.0)], 20.0),
    ],
)
def test_how_long_nothing_moved_although_work_was_due(
    story: str, looks: list[tuple[int, float, float]], stalled: float
) -> None:
    progress = Progress(now_seconds=0.0)
    assert [progress.stalled_for(*look) for look in looks][-1] == stalled, story


@pytest.mark.requirement("K13")
def test_a_dead_letter_has_the_place_and_the_first_bytes() -> None:
    value = bytes(range(256)) * 1_024
    letter = dead_letter_of(a_record("events.a", 3, 42, key=b"k" * 5_000, value=value), "invalid", "why")
    assert (letter.topic, letter.partition, letter.offset, letter.reason, letter.message) == (
        "events.a",
        3,
        42,
        "invalid",
        "why",
    )
    assert letter.value == value[:DEAD_VALUE_BYTES_MAX]
    assert letter.value_bytes == len(value)
    assert letter.key == b"k" * 1_024
    assert len(letter.encode()) < DEAD_VALUE_BYTES_MAX + 2_000
    assert DeadLetter.decode(letter.encode()) == letter


@pytest.mark.requirement("K1")
def test_a_dead_letter_tells_nothing_from_empty() -> None:
    nothing = dead_letter_of(a_record(key=None, value=None), "empty_value", "why")
    empty = dead_letter_of(a_record(key=b"", value=b""), "empty_value", "why")
    assert (nothing.key, nothing.value, nothing.value_bytes) == (None, None, 0)
    assert (empty.key, empty.value, empty.value_bytes) == (b"", b"", 0)


PLACES = st.tuples(st.text(max_size=5), st.integers(0, 2**31 - 1), st.integers(0, 2**62))


@given(PLACES, PLACES, st.integers(-1, 2**47))
def test_a_dead_letters_id_is_that_of_its_place(
    one: tuple[str, int, int], other: tuple[str, int, int], timestamp: int
) -> None:
    def letter(place: tuple[str, int, int], reason: str) -> DeadLetter:
        return dead_letter_of(a_record(*place, timestamp=timestamp), reason, "why")

    assert letter(one, "invalid").id == letter(one, "poisoned").id
    assert (letter(one, "invalid").id == letter(other, "invalid").id) == (one == other)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.requirement("K14")
def test_what_strangers_cause_is_logged_once_a_second_a_kind_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    sparse = Sparse(logging.getLogger("test.sparse"), clock)
    with caplog.at_level(logging.INFO, "test.sparse"):
        for tenth in range(35):
            clock.now = 100.0 + tenth / 10
            sparse.event("record.dead", "invalid", offset=tenth)
        sparse.event("record.dead", "too_large", offset=99)
    facts = [line.facts for line in caplog.records]  # type: ignore[attr-defined]
    assert facts == [
        {"offset": 0},
        {"offset": 10, "suppressed": 9},
        {"offset": 20, "suppressed": 9},
        {"offset": 30, "suppressed": 9},
        {"offset": 99},
    ]


class Told:
    """What a handler told, until the test says what became of it."""

    def __init__(self, telling: Telling, place: object) -> None:
        self.confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard: list[object] = []
        telling.begin(place, self.confirmed, lambda: self.heard.append("finished"), self.heard.append)


@pytest.mark.requirement("F18", "F20")
async def test_a_batch_is_finished_when_what_was_told_is_confirmed_and_not_before_the_one_before_it() -> None:
    telling = Telling()
    first, elsewhere = Told(telling, ("control", 1)), Told(telling, ("control", 2))
    next_batch = asyncio.create_task(telling.over(("control", 1)))
    await settle()
    assert (len(telling), first.heard, next_batch.done()) == (2, [], False)
    elsewhere.confirmed.set_result(None)
    await settle()
    assert (len(telling), elsewhere.heard, next_batch.done()) == (1, ["finished"], False)
    first.confirmed.set_result(None)
    await next_batch
    assert (len(telling), first.heard) == (0, ["finished"])


@pytest.mark.requirement("F18")
async def test_a_batch_whose_verdicts_are_lost_is_not_finished() -> None:
    telling, lost = Telling(), OutboxFailed("verdicts", "gone")
    told = Told(telling, ("control", 1))
    told.confirmed.set_exception(lost)
    await telling.over(("control", 1))
    assert (len(telling), told.heard) == (0, [lost])
