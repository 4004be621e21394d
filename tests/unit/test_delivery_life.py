"""The real agent takes deliveries through every transition of the table, over the fake runtime and real HTTP."""

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from prometheus_client import REGISTRY

from domain.delivery.retry_table import entry_of
from domain.delivery.states import TRANSITIONS, DeliveryInput, DeliveryState, Keeper, next_state
from domain.events.status import RouteState
from operations import clock
from processors.delivery import agent as agent_module
from processors.delivery import attempts, loaded, routes
from processors.delivery.agent import DeliveryAgent
from processors.delivery.limits import Limits
from processors.delivery.recorder import TABLE
from processors.runtime.agent import AgentSpec
from schemas.codec import EVENT
from schemas.entities import Ordering, Workflow
from schemas.ids import DELIVERY, derived_id
from schemas.log_records import LogRecord
from schemas.records import DeadLetter, Delivery, Outcome
from schemas.topics import Topic
from tests.support.fake_runtime import FakeRuntime
from tests.support.receiver import Behaviour, Receiver, answer
from tests.support.until import until

S, I = DeliveryState, DeliveryInput  # noqa: E741 the stories are easier to read with short names
MINE = TP(Topic.DELIVERIES, 3)
SCHEDULE = "events:20ms,20ms"
Transition = tuple[DeliveryState, DeliveryInput]
BY_ITSELF: dict[Transition, str] = {
    (S.UNREAD, I.SET_ASIDE): "no delivery can be read from the record; the story looks at the dead letter",
    (S.BEHIND_ORDERING_KEY, I.ADVANCE): "it happens in the retry table only; the story looks at the entry",
}
"""Transitions of deliveries that are not in memory, and how their stories see them."""


class Worker:
    """A delivery process with one partition, one workflow `wf_one` and its receiver. `seen`: the transitions so far."""

    def __init__(self, directory: Path, receiver: Receiver, seen: set[Transition]) -> None:
        env = {"ATLAS_ALLOW_PRIVATE_TARGETS": "1", "ATLAS_RETRY_LADDER": SCHEDULE}
        self.runtime = FakeRuntime(directory, env=env)
        self.receiver = receiver
        self.seen = seen
        self.agent = DeliveryAgent(self.runtime, Limits(rebalance_wait_seconds=0.01))
        self._records: list[LogRecord] = []

    async def __aenter__(self) -> "Worker":
        self.agent.begin()
        spec = AgentSpec("delivery", [Topic.DELIVERIES], tables={TABLE: None}, confirms_itself=True)
        self.runtime.add(self.agent, spec)
        await self.runtime.assign(MINE)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.stopping()
        assert self.runtime.failures == []
        assert REGISTRY.get_sample_value("atlas_delivery_fetched") == 0, "what came from the table has left memory"
        self.runtime.close()

    def workflow(self, **changes: Any) -> Workflow:
        fields: dict[str, Any] = {"id": "wf_one", "workspace": "ws_1", "environment": "live", "name": "One"}
        workflow = Workflow(**fields | {"created_ms": 1, "url": self.receiver.url + "/one"} | changes)
        self.runtime.control.put(workflow)
        return workflow

    def delete(self, workflow: Workflow) -> None:
        self.runtime.control.view.apply(workflow.to_entity().key, None)

    async def deliver(self, number: int = 1, key: str | None = None) -> list[str]:
        """Returns the ids of new deliveries, which the agent has read from the log."""
        fields = {"type": "order.fulfilled", "occurred_at": "2026-05-18T14:12:11Z", "data": b"{}"}
        ids = []
        for offset in range(len(self._records), len(self._records) + number):
            one = Delivery(
                delivery_id=derived_id(DELIVERY, 1, str(offset).encode()),
                event_id=f"evt_{offset}",
                workspace="ws_1",
                environment="live",
                stream="orders",
                workflow_id="wf_one",
                received_ms=clock.now_ms(),
                event=EVENT.body_of(EVENT.encode(fields | {"idempotency_key": key})),
            )
            ids.append(one.delivery_id)
            self._append(one.encode())
        await self.runtime.handle(MINE, self._records[-number:])
        return ids

    async def read_nonsense(self) -> None:
        self._append(b"nonsense")
        await self.runtime.handle(MINE, self._records[-1:])

    async def read_again(self) -> None:
        """As the partition's next owner does from the last commit on."""
        await self.runtime.handle(MINE, self._records[self.runtime.confirmed.get(MINE, 0) :])

    def _append(self, value: bytes) -> None:
        offset = len(self._records)
        self._records.append(LogRecord(MINE.topic, MINE.partition, offset, clock.now_ms(), None, value, ()))

    def outcomes(self, delivery_id: str) -> list[str]:
        read = [Outcome.decode(one.value) for one in self.runtime.sent if one.topic == Topic.OUTCOMES]
        return [outcome.status for outcome in read if outcome.delivery_id == delivery_id]

    def state_in_table(self, delivery_id: str) -> DeliveryState | None:
        entry = entry_of(self.runtime.committed(MINE.partition, TABLE), delivery_id)
        return None if entry is None else entry.state

    async def all_have(self, ids: list[str], *statuses: RouteState) -> None:
        await until(lambda: all(self.outcomes(one) == list(statuses) for one in ids))

    async def all_wait(self, ids: list[str]) -> None:
        await until(lambda: all(self.state_in_table(one) is S.WAITING for one in ids))

    async def arrive(self, number: int, origin: Keeper) -> list[str]:
        """From the log at once, or loaded from the retry table after their workflow was reactivated."""
        if origin is Keeper.LOG:
            self.workflow()
            return await self.deliver(number)
        self.workflow(disabled_ms=1)
        ids = await self.deliver(number)
        await self.all_wait(ids)
        self.workflow(reactivations=1)
        return ids


async def never() -> bool:
    return False


def held(status: int, gate: threading.Event) -> Behaviour:
    """Answers once the gate is open."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while not gate.is_set():  # noqa: ASYNC110 the gate is opened from another thread
            await asyncio.sleep(0.005)
        return await answer(status)(reader, writer)

    return behave


Story = Callable[[Worker, Keeper, pytest.MonkeyPatch], Awaitable[None]]


async def delivered_or_retried_until_exhausted(worker: Worker, origin: Keeper, _: pytest.MonkeyPatch) -> None:
    worker.receiver.script("/one", answer(200), answer(500))
    ids = await worker.arrive(1, origin)
    await worker.all_have(ids, RouteState.DELIVERED)
    failing = await worker.deliver()
    await worker.all_have(failing, *[RouteState.RETRY_SCHEDULED] * 2, RouteState.EXHAUSTED)
    await until(lambda: worker.runtime.confirmed.get(MINE) == 2)


async def retried(worker: Worker, origin: Keeper, _: pytest.MonkeyPatch) -> None:
    worker.receiver.script("/one", answer(500), answer(200))
    ids = await worker.arrive(1, origin)
    await worker.all_have(ids, RouteState.RETRY_SCHEDULED, RouteState.DELIVERED)


async def disabled_by_a_410(worker: Worker, origin: Keeper, _: pytest.MonkeyPatch) -> None:
    """Four of an endpoint run at once as long as nothing is known of it: the other four are still queued."""
    worker.receiver.script("/one", answer(410))
    ids = await worker.arrive(8, origin)
    await worker.all_wait(ids)
    await until(lambda: sum(worker.outcomes(one) == [RouteState.DISABLED] for one in ids) == 4)
    worker.receiver.script("/one", answer(200))
    worker.workflow(reactivations=2)
    await until(lambda: all(worker.outcomes(one)[-1:] == [RouteState.DELIVERED] for one in ids))


async def exhausted_as_its_workflow_was_deleted(worker: Worker, origin: Keeper, _: pytest.MonkeyPatch) -> None:
    if origin is Keeper.LOG:
        ids = await worker.deliver()
    else:
        workflow = worker.workflow(disabled_ms=1)
        ids = await worker.deliver()
        await worker.all_wait(ids)
        worker.delete(workflow)
    await worker.all_have(ids, RouteState.EXHAUSTED)
    assert worker.receiver.requests == []


async def postponed_while_its_route_is_unknown(worker: Worker, origin: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = worker.workflow(disabled_ms=1)
    ids = await worker.deliver() if origin is Keeper.TABLE else []
    await worker.all_wait(ids)
    monkeypatch.setattr(routes, "FIND_SECONDS_MAX", 0.01)
    monkeypatch.setattr(attempts, "UNKNOWN_ROUTE_MS", 10)
    monkeypatch.setattr(worker.runtime.control, "has_seen", lambda _at: False)
    monkeypatch.setattr(worker.runtime.control, "catch_up", never)
    worker.delete(workflow)
    ids = ids or await worker.deliver()
    running = S.RUNNING_FROM_LOG if origin is Keeper.LOG else S.RUNNING_FROM_TABLE
    await until(lambda: (running, I.POSTPONE) in worker.seen)
    worker.workflow(reactivations=1)
    await worker.all_have(ids, RouteState.DELIVERED)


async def one_after_another_of_an_ordering_key(worker: Worker, _: Keeper, __: pytest.MonkeyPatch) -> None:
    worker.workflow(ordering=Ordering.PER_KEY, disabled_ms=1)
    first, second = await worker.deliver(2, key="a")
    await worker.all_wait([first])
    assert worker.state_in_table(second) is S.BEHIND_ORDERING_KEY
    worker.workflow(ordering=Ordering.PER_KEY, reactivations=1)
    await worker.all_have([first, second], RouteState.DELIVERED)
    order = [request.headers["x-atlas-delivery"] for request in worker.receiver.requests]
    assert order == [first, second]


async def set_aside_as_it_is_unreadable(worker: Worker, _: Keeper, __: pytest.MonkeyPatch) -> None:
    await worker.read_nonsense()
    (letter,) = [DeadLetter.decode(one.value) for one in worker.runtime.sent if one.topic == Topic.DEAD_LETTERS]
    assert letter.reason == "unreadable"
    assert worker.runtime.confirmed[MINE] == 1


async def released_in_a_rebalance(worker: Worker, origin: Keeper, _: pytest.MonkeyPatch) -> None:
    """Four run and four are queued. Those that run fail after the partition was revoked: their outcomes are left to the
    next owner, who makes all eight attempts.
    """
    gate = threading.Event()
    worker.receiver.script("/one", held(500, gate))
    ids = await worker.arrive(8, origin)
    await asyncio.to_thread(worker.receiver.wait_for, 4)
    await worker.agent.draining()
    await worker.agent.revoked({MINE})
    gate.set()
    recording = S.RECORDING_FROM_LOG if origin is Keeper.LOG else S.RECORDING_FROM_TABLE
    await until(lambda: (recording, I.RELEASE) in worker.seen)
    worker.receiver.script("/one", answer(200))
    await worker.runtime.assign(MINE)
    await worker.read_again()
    await worker.all_have(ids, RouteState.DELIVERED)


async def released_without_a_drain(worker: Worker, origin: Keeper, _: pytest.MonkeyPatch) -> None:
    """As when the partition's epoch has changed: what is queued finds its partition revoked when a slot is free."""
    gate = threading.Event()
    worker.receiver.script("/one", held(200, gate))
    ids = await worker.arrive(8, origin)
    await asyncio.to_thread(worker.receiver.wait_for, 4)
    await worker.agent.revoked({MINE})
    gate.set()
    await until(lambda: sum(worker.outcomes(one) == [RouteState.DELIVERED] for one in ids) == 4)


async def released_on_its_way_into_the_table(worker: Worker, _: Keeper, __: pytest.MonkeyPatch) -> None:
    worker.workflow(disabled_ms=1)
    (left,) = await worker.deliver()
    await worker.agent.revoked({MINE})
    assert worker.state_in_table(left) is None and MINE not in worker.runtime.confirmed
    await worker.runtime.assign(MINE)
    await worker.read_again()
    await worker.all_wait([left])


async def released_by_a_worker_that_stops(worker: Worker, origin: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its attempt takes longer than the worker waits."""
    monkeypatch.setattr(agent_module, "STOP_MARGIN_SECONDS", -worker.runtime.settings.attempt_timeout_seconds)
    gate = threading.Event()
    worker.receiver.script("/one", held(200, gate))
    (left,) = await worker.arrive(1, origin)
    await asyncio.to_thread(worker.receiver.wait_for, 1)
    await worker.agent.stopping()
    running = S.RUNNING_FROM_LOG if origin is Keeper.LOG else S.RUNNING_FROM_TABLE
    await until(lambda: (running, I.RELEASE) in worker.seen)
    gate.set()
    assert worker.outcomes(left) == []


STORIES: tuple[Story, ...] = (
    delivered_or_retried_until_exhausted,
    retried,
    disabled_by_a_410,
    exhausted_as_its_workflow_was_deleted,
    postponed_while_its_route_is_unknown,
    one_after_another_of_an_ordering_key,
    set_aside_as_it_is_unreadable,
    released_in_a_rebalance,
    released_without_a_drain,
    released_on_its_way_into_the_table,
    released_by_a_worker_that_stops,
)


@pytest.mark.requirement("F17", "F43", "F44", "F47", "A-065", "A-066")
async def test_every_transition_is_gone_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test, since it asks what all stories show together."""
    seen: set[Transition] = set()

    def noting(state: DeliveryState, received: DeliveryInput) -> DeliveryState:
        following = next_state(state, received)
        seen.add((state, received))
        return following

    monkeypatch.setattr(loaded, "next_state", noting)
    for story, origin in itertools.product(STORIES, (Keeper.LOG, Keeper.TABLE)):
        with monkeypatch.context() as changes, Receiver() as receiver:
            async with Worker(tmp_path / f"{story.__name__}-{origin}", receiver, seen) as worker:
                await story(worker, origin, changes)
    every = {(state, received) for state, inputs in TRANSITIONS.items() for received in inputs}
    assert every - seen == BY_ITSELF.keys()
