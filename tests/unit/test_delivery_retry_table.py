"""The retry table: rows in the order of due times, one chain of attempts each, ordering keys one after another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.delivery.retry_table import (
    ENDED_KEPT_MS,
    Due,
    RetryTable,
    due_of_endpoint,
    due_prefix,
    entry_of,
    first_due_of_each_endpoint,
    order_hash,
    record_of,
)
from domain.tables import MemoryTable

MINE, OTHER = "ws_1/live/wf_a", "ws_1/live/wf_ab"


def waiting_in(table: MemoryTable, endpoint_id: str = MINE) -> list[tuple[int, str]]:
    return [(due.due_ms, due.delivery_id) for due in due_of_endpoint(table, endpoint_id, due_prefix(endpoint_id))]


@given(st.lists(st.tuples(st.sampled_from((MINE, OTHER)), st.integers(0, 2**40)), max_size=30))
def test_an_endpoint_gets_its_deliveries_by_due_time_and_nothing_of_others(wanted: list[tuple[str, int]]) -> None:
    table = MemoryTable()
    waiting = RetryTable(table)
    for number, (endpoint_id, due_ms) in enumerate(wanted):
        waiting.schedule_next(f"dlv_{number:03}", b"record", endpoint_id, attempts=1, first_ms=1, due_ms=due_ms)
    expected: dict[str, list[tuple[int, str]]] = {MINE: [], OTHER: []}
    for number, (endpoint_id, due_ms) in enumerate(wanted):
        expected[endpoint_id].append((due_ms, f"dlv_{number:03}"))
    for endpoint_id in (MINE, OTHER):
        assert waiting_in(table, endpoint_id) == sorted(expected[endpoint_id])
    firsts = [(due.endpoint_id, due.due_ms) for due in first_due_of_each_endpoint(table)]
    assert firsts == [
        (endpoint_id, min(expected[endpoint_id])[0]) for endpoint_id in (MINE, OTHER) if expected[endpoint_id]
    ]


@pytest.mark.requirement("F44")
def test_a_record_or_an_attempt_seen_before_changes_nothing() -> None:
    table = MemoryTable()
    waiting = RetryTable(table)
    assert waiting.schedule_next("d", b"record", MINE, attempts=1, first_ms=5, due_ms=10) == [Due(MINE, 10, "d")]
    assert waiting.schedule_next("d", b"record", MINE, attempts=1, first_ms=9, due_ms=99) == []
    assert waiting.store("d", b"record", MINE, due_ms=0, sequence=1) == []
    assert waiting.schedule_next("d", b"record", MINE, attempts=2, first_ms=5, due_ms=20) == [Due(MINE, 20, "d")]
    assert waiting_in(table) == [(20, "d")]
    assert waiting.end("d", attempts=3, now_ms=30) == []
    assert waiting.schedule_next("d", b"record", MINE, attempts=4, first_ms=5, due_ms=40) == []
    assert waiting.store("d", b"record", MINE, due_ms=0, sequence=1) == []
    assert waiting_in(table) == []
    assert record_of(table, "d") is None


def test_one_that_has_ended_is_remembered_for_an_hour() -> None:
    table = MemoryTable()
    waiting = RetryTable(table)
    waiting.store("d", b"record", MINE, due_ms=0, sequence=1)
    waiting.end("d", attempts=1, now_ms=1_000)
    assert waiting.sweep(1_000 + ENDED_KEPT_MS) == 0
    assert entry_of(table, "d") is not None
    assert waiting.sweep(1_001 + ENDED_KEPT_MS) == 1
    assert list(table.scan(b"")) == []


class OneKeyAfterTheOther(RuleBasedStateMachine):
    """Deliveries of three keys come, fail and end; of each key only the first is indexed by due time."""

    def __init__(self) -> None:
        super().__init__()
        self.table = MemoryTable()
        self.waiting = RetryTable(self.table)
        self.queues: dict[str, list[str]] = {"x": [], "y": [], "z": []}
        self.attempts: dict[str, int] = {}
        self.count = 0

    @rule(key=st.sampled_from("xyz"))
    def comes(self, key: str) -> None:
        self.count += 1
        delivery_id = f"dlv_{self.count}"
        placed = self.waiting.store(
            delivery_id, b"r", MINE, due_ms=self.count, sequence=self.count, order_key=order_hash(key)
        )
        assert bool(placed) == (not self.queues[key])
        self.queues[key].append(delivery_id)
        self.attempts[delivery_id] = 0

    @rule(key=st.sampled_from("xyz"), later_ms=st.integers(1, 100))
    def fails(self, key: str, later_ms: int) -> None:
        if self.queues[key]:
            head = self.queues[key][0]
            self.attempts[head] += 1
            due_ms = self.count + later_ms
            placed = self.waiting.schedule_next(
                head, b"r", MINE, attempts=self.attempts[head], first_ms=1, due_ms=due_ms
            )
            assert placed == [Due(MINE, due_ms, head)]

    @rule(key=st.sampled_from("xyz"))
    def ends(self, key: str) -> None:
        if self.queues[key]:
            head = self.queues[key].pop(0)
            placed = self.waiting.end(head, attempts=self.attempts[head] + 1, now_ms=self.count)
            assert [due.delivery_id for due in placed] == self.queues[key][:1]

    @invariant()
    def the_index_has_the_first_of_each_key(self) -> None:
        in_it = {delivery_id for _, delivery_id in waiting_in(self.table)}
        assert in_it == {queue[0] for queue in self.queues.values() if queue}


TestOneKeyAfterTheOther = OneKeyAfterTheOther.TestCase
