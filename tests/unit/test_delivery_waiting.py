"""The table of what waits: places in due order, chains that never multiply, keys that go one after the other."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.delivery.retry_table import (
    ENDED_KEPT_MS,
    Due,
    Waiting,
    entry_of,
    in_lane,
    lane_prefix,
    lanes_of,
    order_hash,
    record_of,
)
from tests.support.control_stand_in import MemoryTable

LANE, OTHER = "ws_1/live/wf_a", "ws_1/live/wf_ab"


class Table(MemoryTable):
    """With a place to start from, as the written table has it."""

    def scan(self, prefix: bytes, since: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return iter([row for row in super().scan(prefix) if row[0] >= since])


def waiting_in(table: Table, lane: str = LANE) -> list[tuple[int, str]]:
    return [(due.due_ms, due.delivery_id) for due in in_lane(table, lane, lane_prefix(lane))]


@given(st.lists(st.tuples(st.sampled_from((LANE, OTHER)), st.integers(0, 2**40)), max_size=30))
def test_a_lane_gives_its_deliveries_by_due_time_and_nothing_of_others(wanted: list[tuple[str, int]]) -> None:
    table = Table()
    waiting = Waiting(table)
    for number, (lane, due_ms) in enumerate(wanted):
        waiting.attempted(f"dlv_{number:03}", b"record", lane, settled=1, first_ms=1, due_ms=due_ms)
    expected: dict[str, list[tuple[int, str]]] = {LANE: [], OTHER: []}
    for number, (lane, due_ms) in enumerate(wanted):
        expected[lane].append((due_ms, f"dlv_{number:03}"))
    for lane in (LANE, OTHER):
        assert waiting_in(table, lane) == sorted(expected[lane])
    firsts = [(due.lane, due.due_ms) for due in lanes_of(table)]
    assert firsts == [(lane, min(expected[lane])[0]) for lane in (LANE, OTHER) if expected[lane]]


@pytest.mark.requirement("F44")
def test_a_record_or_an_attempt_seen_before_changes_nothing() -> None:
    table = Table()
    waiting = Waiting(table)
    assert waiting.attempted("d", b"record", LANE, settled=1, first_ms=5, due_ms=10) == [Due(LANE, 10, "d")]
    assert waiting.attempted("d", b"record", LANE, settled=1, first_ms=9, due_ms=99) == []
    assert waiting.take_in("d", b"record", LANE, due_ms=0, sequence=1) == []
    assert waiting.attempted("d", b"record", LANE, settled=2, first_ms=5, due_ms=20) == [Due(LANE, 20, "d")]
    assert waiting_in(table) == [(20, "d")]
    assert waiting.ended("d", settled=3, now_ms=30) == []
    assert waiting.attempted("d", b"record", LANE, settled=4, first_ms=5, due_ms=40) == []
    assert waiting.take_in("d", b"record", LANE, due_ms=0, sequence=1) == []
    assert waiting_in(table) == []
    assert record_of(table, "d") is None


def test_one_that_has_ended_is_remembered_for_an_hour() -> None:
    table = Table()
    waiting = Waiting(table)
    waiting.take_in("d", b"record", LANE, due_ms=0, sequence=1)
    waiting.ended("d", settled=1, now_ms=1_000)
    assert waiting.sweep(1_000 + ENDED_KEPT_MS) == 0
    assert entry_of(table, "d") is not None
    assert waiting.sweep(1_001 + ENDED_KEPT_MS) == 1
    assert list(table.scan(b"")) == []


class OneKeyAfterTheOther(RuleBasedStateMachine):
    """Deliveries of three keys come, fail and end; of each key only the first may stand in the lane."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()
        self.waiting = Waiting(self.table)
        self.queues: dict[str, list[str]] = {"x": [], "y": [], "z": []}
        self.settled: dict[str, int] = {}
        self.count = 0

    @rule(key=st.sampled_from("xyz"))
    def comes(self, key: str) -> None:
        self.count += 1
        delivery_id = f"dlv_{self.count}"
        placed = self.waiting.take_in(
            delivery_id, b"r", LANE, due_ms=self.count, sequence=self.count, order_key=order_hash(key)
        )
        assert bool(placed) == (not self.queues[key])
        self.queues[key].append(delivery_id)
        self.settled[delivery_id] = 0

    @rule(key=st.sampled_from("xyz"), later_ms=st.integers(1, 100))
    def fails(self, key: str, later_ms: int) -> None:
        if self.queues[key]:
            head = self.queues[key][0]
            self.settled[head] += 1
            due_ms = self.count + later_ms
            placed = self.waiting.attempted(head, b"r", LANE, settled=self.settled[head], first_ms=1, due_ms=due_ms)
            assert placed == [Due(LANE, due_ms, head)]

    @rule(key=st.sampled_from("xyz"))
    def ends(self, key: str) -> None:
        if self.queues[key]:
            head = self.queues[key].pop(0)
            placed = self.waiting.ended(head, settled=self.settled[head] + 1, now_ms=self.count)
            assert [due.delivery_id for due in placed] == self.queues[key][:1]

    @invariant()
    def the_lane_holds_the_first_of_each_key(self) -> None:
        in_it = {delivery_id for _, delivery_id in waiting_in(self.table)}
        assert in_it == {queue[0] for queue in self.queues.values() if queue}


TestOneKeyAfterTheOther = OneKeyAfterTheOther.TestCase
