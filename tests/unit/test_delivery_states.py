"""The life of a delivery as a table: whole, without dead ends, and kept by the queues and the retry table together."""

import itertools
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.delivery.endpoint_queues import EndpointQueues
from domain.delivery.retry_table import RetryTable, due_of_endpoint, due_prefix, entry_of, order_hash, record_of
from domain.delivery.states import (
    FIRST_STATE,
    KEPT_BY,
    RECORDED,
    TRANSITIONS,
    DeliveryInput,
    DeliveryState,
    ImpossibleTransition,
    Keeper,
    next_state,
    shown_states,
)
from domain.events.status import RouteState
from domain.tables import MemoryTable

S, I = DeliveryState, DeliveryInput  # noqa: E741 the table is easier to read with short names
AT_REST = {Keeper.LOG: S.UNREAD, Keeper.TABLE: S.WAITING}
IN_MEMORY = [state for state, inputs in TRANSITIONS.items() if I.RELEASE in inputs]
ENDED = {S.DELIVERED, S.EXHAUSTED, S.DEAD_LETTERED}


def reachable_from(state: DeliveryState) -> set[DeliveryState]:
    seen, to_visit = {state}, deque([state])
    while to_visit:
        for following in TRANSITIONS[to_visit.popleft()].values():
            if following not in seen:
                seen.add(following)
                to_visit.append(following)
    return seen


def test_every_state_is_in_the_table_and_every_input_is_used() -> None:
    assert TRANSITIONS.keys() == KEPT_BY.keys() == set(DeliveryState)
    assert {received for inputs in TRANSITIONS.values() for received in inputs} == set(DeliveryInput)


def test_every_state_is_reached_and_each_leads_to_an_end() -> None:
    assert reachable_from(FIRST_STATE) == set(DeliveryState)
    for state in DeliveryState:
        assert reachable_from(state) & ENDED, f"a delivery that is {state} never ends"


def test_an_end_is_final_and_nothing_else_is() -> None:
    final = {state for state, inputs in TRANSITIONS.items() if not inputs}
    assert final == ENDED == {state for state, keeper in KEPT_BY.items() if keeper is Keeper.NOBODY}


def test_what_the_table_does_not_have_is_an_error() -> None:
    for state, received in itertools.product(DeliveryState, DeliveryInput):
        if received in TRANSITIONS[state]:
            assert next_state(state, received) is TRANSITIONS[state][received]
        else:
            with pytest.raises(ImpossibleTransition, match=f"{state} can't take the input {received}"):
                next_state(state, received)


@pytest.mark.requirement("F44")
@pytest.mark.parametrize("state", IN_MEMORY)
def test_a_worker_that_dies_leaves_its_deliveries_where_they_are_kept(state: DeliveryState) -> None:
    assert next_state(state, I.RELEASE) is AT_REST[KEPT_BY[state]]


def test_a_delivery_never_goes_back_from_the_table_to_the_log() -> None:
    for state, inputs in TRANSITIONS.items():
        if KEPT_BY[state] is Keeper.TABLE:
            assert Keeper.LOG not in {KEPT_BY[following] for following in inputs.values()}


@pytest.mark.parametrize(
    ("from_log", "from_table"),
    [
        (S.QUEUED_FROM_LOG, S.QUEUED_FROM_TABLE),
        (S.RUNNING_FROM_LOG, S.RUNNING_FROM_TABLE),
        (S.RECORDING_FROM_LOG, S.RECORDING_FROM_TABLE),
    ],
)
def test_an_attempt_takes_the_same_inputs_wherever_its_delivery_came_from(
    from_log: DeliveryState, from_table: DeliveryState
) -> None:
    assert TRANSITIONS[from_log].keys() == TRANSITIONS[from_table].keys()


@pytest.mark.requirement("A-053")
def test_what_the_api_shows_in_each_state() -> None:
    open_ones = frozenset({RouteState.QUEUED, RouteState.RETRY_SCHEDULED, RouteState.DISABLED})
    of_log = (S.UNREAD, S.QUEUED_FROM_LOG, S.RUNNING_FROM_LOG, S.RECORDING_FROM_LOG, S.STORING)
    of_table = (S.WAITING, S.QUEUED_FROM_TABLE, S.RUNNING_FROM_TABLE, S.RECORDING_FROM_TABLE)
    assert shown_states() == {
        **dict.fromkeys((*of_log, S.BEHIND_ORDERING_KEY, S.DEAD_LETTERED), frozenset({RouteState.QUEUED})),
        **dict.fromkeys(of_table, open_ones),
        S.DELIVERED: {RouteState.DELIVERED},
        S.EXHAUSTED: {RouteState.EXHAUSTED},
    }
    assert RECORDED.keys() == set(RouteState) - {RouteState.QUEUED, RouteState.IN_PROGRESS}


class OneWorker(RuleBasedStateMachine):
    """Deliveries of two endpoints, some with an ordering key, go through the real queues and the real retry table by
    `next_state`. Whatever happens in whichever order, the state says where each delivery is.
    """

    ENDPOINTS = ("ws_1/live/wf_a", "ws_1/live/wf_b")

    def __init__(self) -> None:
        super().__init__()
        self.committed = MemoryTable()
        self.table = RetryTable(self.committed)
        self.queues: EndpointQueues[str] = EndpointQueues(3, lambda _endpoint: 2)
        self.states: dict[str, DeliveryState] = {}
        self.endpoints: dict[str, str] = {}
        self.keys: dict[str, bytes] = {}
        self.attempts: dict[str, int] = {}
        self.now_ms = 1

    def move(self, delivery_id: str, received: DeliveryInput) -> None:
        self.states[delivery_id] = next_state(self.states[delivery_id], received)

    def in_state(self, *states: DeliveryState) -> list[str]:
        return [delivery_id for delivery_id, state in self.states.items() if state in states]

    @rule(endpoint=st.sampled_from(ENDPOINTS), key=st.sampled_from(("", "x", "y")))
    def comes(self, endpoint: str, key: str) -> None:
        delivery_id = f"dlv_{len(self.states):04}"
        self.states[delivery_id] = FIRST_STATE
        self.endpoints[delivery_id], self.keys[delivery_id] = endpoint, order_hash(key) if key else b""
        self.attempts[delivery_id] = 0

    @precondition(lambda self: self.in_state(S.UNREAD))
    @rule()
    def is_read(self) -> None:
        """In the log's order, as a partition is."""
        delivery_id = self.in_state(S.UNREAD)[0]
        if self.keys[delivery_id]:
            self.move(delivery_id, I.STORE)
        else:
            self.move(delivery_id, I.QUEUE)
            self.queues.add(self.endpoints[delivery_id], delivery_id)

    @precondition(lambda self: self.in_state(S.STORING))
    @rule()
    def is_stored(self) -> None:
        delivery_id = self.in_state(S.STORING)[0]
        now_waiting = self.table.store(
            delivery_id,
            b"record",
            self.endpoints[delivery_id],
            due_ms=self.now_ms,
            sequence=int(delivery_id[4:]),
            order_key=self.keys[delivery_id],
        )
        self.move(delivery_id, I.STORED if now_waiting else I.STORED_BEHIND)

    @rule(endpoint=st.sampled_from(ENDPOINTS))
    def are_loaded(self, endpoint: str) -> None:
        for due in due_of_endpoint(self.committed, endpoint, due_prefix(endpoint)):
            if due.due_ms <= self.now_ms and self.states[due.delivery_id] is S.WAITING:
                self.move(due.delivery_id, I.LOAD)
                self.queues.add(endpoint, due.delivery_id)

    @rule()
    def starts(self) -> None:
        taken = self.queues.take()
        if taken is not None:
            self.move(taken[1], I.START)

    @precondition(lambda self: self.in_state(S.RUNNING_FROM_LOG, S.RUNNING_FROM_TABLE))
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        delivery_id = data.draw(st.sampled_from(self.in_state(S.RUNNING_FROM_LOG, S.RUNNING_FROM_TABLE)))
        self.queues.done(self.endpoints[delivery_id])
        self.move(delivery_id, I.FINISH)

    @precondition(lambda self: self.in_state(S.RECORDING_FROM_LOG, S.RECORDING_FROM_TABLE))
    @rule(data=st.data(), status=st.sampled_from(sorted(RECORDED)), later_ms=st.integers(0, 5))
    def is_recorded(self, data: st.DataObject, status: RouteState, later_ms: int) -> None:
        delivery_id = data.draw(st.sampled_from(self.in_state(S.RECORDING_FROM_LOG, S.RECORDING_FROM_TABLE)))
        self.attempts[delivery_id] += 1
        made = self.attempts[delivery_id]
        if status in (RouteState.DELIVERED, RouteState.EXHAUSTED):
            advanced = self.table.end(delivery_id, attempts=made, now_ms=self.now_ms)
            for due in advanced:
                self.move(due.delivery_id, I.ADVANCE)
        else:
            self.table.schedule_next(
                delivery_id,
                b"record",
                self.endpoints[delivery_id],
                attempts=made,
                first_ms=1,
                due_ms=self.now_ms + later_ms,
            )
        self.move(delivery_id, RECORDED[status])

    @rule(endpoint=st.sampled_from(ENDPOINTS))
    def are_postponed(self, endpoint: str) -> None:
        for delivery_id in self.queues.withdraw(endpoint):
            self.move(delivery_id, I.POSTPONE)

    @rule()
    def the_worker_dies(self) -> None:
        """Another one begins with what the log and the table keep."""
        self.queues = EndpointQueues(3, lambda _endpoint: 2)
        for delivery_id in self.in_state(*IN_MEMORY):
            self.move(delivery_id, I.RELEASE)

    @rule(later_ms=st.integers(1, 5))
    def time_passes(self, later_ms: int) -> None:
        self.now_ms += later_ms

    @invariant()
    def the_queues_hold_what_is_queued_or_runs(self) -> None:
        assert self.queues.waiting == len(self.in_state(S.QUEUED_FROM_LOG, S.QUEUED_FROM_TABLE))
        assert self.queues.running == len(self.in_state(S.RUNNING_FROM_LOG, S.RUNNING_FROM_TABLE))

    @invariant()
    def the_table_keeps_what_the_state_says(self) -> None:
        for delivery_id, state in self.states.items():
            entry = entry_of(self.committed, delivery_id)
            if KEPT_BY[state] is Keeper.LOG:
                assert entry is None
            elif KEPT_BY[state] is Keeper.TABLE:
                behind = state is S.BEHIND_ORDERING_KEY
                assert entry is not None and entry.state is (S.BEHIND_ORDERING_KEY if behind else S.WAITING)
                assert record_of(self.committed, delivery_id) == b"record"
            else:
                assert entry is None or entry.state is None
                assert record_of(self.committed, delivery_id) is None

    @invariant()
    def of_one_ordering_key_only_the_first_is_on_its_way(self) -> None:
        for endpoint, key in {(self.endpoints[one], self.keys[one]) for one in self.states if self.keys[one]}:
            mine = [
                state
                for one, state in self.states.items()
                if (self.endpoints[one], self.keys[one]) == (endpoint, key) and KEPT_BY[state] is Keeper.TABLE
            ]
            assert not mine or [state is S.BEHIND_ORDERING_KEY for state in mine].count(False) == 1


OneWorker.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOneWorker = OneWorker.TestCase
