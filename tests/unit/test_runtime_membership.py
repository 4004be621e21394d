"""A member's heartbeats: when the lease begins, what an odd answer does, what a blocked loop costs."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    IllegalGenerationError,
    InvalidSessionTimeoutError,
    KafkaError,
)
from faust.transport.consumer import ConsumerThread
from faust.types import TP

from processors.runtime import commits, transport
from processors.runtime.lease import Lease
from processors.runtime.transport import MembershipThread

TPS = {TP("events.a", 0)}


class Member:
    """The membership's thread without one: its heartbeats are answered as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: bool | Exception) -> None:
        self.lease = Lease(6.0)
        self.beats = 0
        self.coordinators_left = 0
        self.told: list[set[TP]] = []
        self._answers = list(answers)
        self.thread: Any = MembershipThread.__new__(MembershipThread)
        self.thread.consumer = SimpleNamespace(lease=self.lease)
        self.thread._beat = self._beat
        self.thread._coordinator = SimpleNamespace(member_id="lifecycle-1", coordinator_dead=self._coordinator_dead)

        async def on_partitions_assigned(_thread: object, assigned: set[TP], generation_id: int = 0) -> None:
            self.told.append(assigned)

        monkeypatch.setattr(ConsumerThread, "on_partitions_assigned", on_partitions_assigned)
        monkeypatch.setattr(transport, "FIRST_HEARTBEATS_APART_SECONDS", 0.0)
        monkeypatch.setattr(transport, "HELD_BACK_SECONDS", 0.0)

    async def _beat(self) -> bool:
        self.beats += 1
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _coordinator_dead(self) -> None:
        self.coordinators_left += 1

    @property
    def holds(self) -> bool:
        return self.lease.seconds_left(time.monotonic()) > 0


@pytest.mark.requirement("F16", "F17")
@pytest.mark.parametrize(
    ("answers", "holds"),
    [
        ([True], True),
        ([False, True], True),
        ([CoordinatorLoadInProgressError(), True], True),  # aiokafka raises for what it does not expect
        ([False] * transport.FIRST_HEARTBEATS, False),
        ([CoordinatorLoadInProgressError()] * transport.FIRST_HEARTBEATS, False),
    ],
)
async def test_the_lease_begins_with_the_assignment_which_is_told_whatever_the_heartbeat_says(
    monkeypatch: pytest.MonkeyPatch, answers: list[bool | Exception], holds: bool
) -> None:
    member = Member(monkeypatch, *answers)
    await member.thread.on_partitions_assigned(TPS, 3)
    assert (member.beats, member.holds, member.told) == (len(answers), holds, [TPS])


@pytest.mark.requirement("F16")
async def test_a_heartbeat_without_an_answer_looks_for_another_coordinator_well_within_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    member = Member(monkeypatch)
    member.lease = member.thread.consumer.lease = Lease(0.1)

    async def never() -> bool:
        await asyncio.sleep(3_600)
        return True

    member.thread._beat = never
    assert await member.thread._timed_heartbeat() is False
    assert member.coordinators_left == 1


@pytest.mark.parametrize("steps", range(5))
async def test_a_heartbeat_that_is_called_off_as_its_answer_comes_does_not_go_on(
    monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """aiokafka calls it off before it joins anew, and waits for its end; its own wait_for may swallow that (3.11)."""
    member = Member(monkeypatch)
    answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def beat() -> bool:
        return await asyncio.wait_for(answered, 60)

    member.thread._beat = beat
    beating = asyncio.create_task(member.thread._timed_heartbeat())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answered.set_result(True)
    for _ in range(steps):
        await asyncio.sleep(0)
    if beating.cancel():  # it has not ended before
        with pytest.raises(asyncio.CancelledError):
            await beating


@pytest.mark.requirement("F16")
async def test_whom_the_group_does_not_know_holds_no_lease_though_its_session_is_not_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    member = Member(monkeypatch, True, False)
    await member.thread.on_partitions_assigned(TPS, 3)
    assert member.holds
    member.thread._coordinator.member_id = ""  # aiokafka has forgotten it, as the group has
    assert await member.thread._timed_heartbeat() is False
    assert not member.holds


@pytest.mark.requirement("F28")
async def test_while_the_loop_is_blocked_no_heartbeat_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    member = Member(monkeypatch, True, True)
    member.lease.loop_ran(time.monotonic())
    assert await member.thread._timed_heartbeat() is True
    member.lease.loop_ran(time.monotonic() - 6.5)
    assert await member.thread._timed_heartbeat() is False
    assert member.beats == 1
    member.lease.loop_ran(time.monotonic())
    assert await member.thread._timed_heartbeat() is True


class Coordination:
    """aiokafka's coordinator, as far as its errors and commits go."""

    def __init__(self, *answers: KafkaError | None) -> None:
        self.rejoins = 0
        self._heartbeat_task: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self._commit_refresh_task: asyncio.Future[None] | None = None
        self._commit_lock = asyncio.Lock()
        self._answers = list(answers)
        self.commits = 0

    def request_rejoin(self) -> None:
        self.rejoins += 1

    async def _do_commit_offsets(self, _assignment: object, _offsets: object) -> None:
        self.commits += 1
        answer = self._answers.pop(0)
        if answer is not None:
            raise answer


def a_thread(monkeypatch: pytest.MonkeyPatch, coordination: Coordination) -> Any:
    monkeypatch.setattr(transport, "REFUSED_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(commits, "AGAIN_SECONDS", 0.0)
    thread: Any = MembershipThread.__new__(MembershipThread)
    thread.consumer = SimpleNamespace(refused=None)
    thread._coordinator = coordination
    thread.assignment = lambda: TPS
    return thread


@pytest.mark.requirement("F2")
async def test_after_an_answer_that_aiokafka_does_not_know_it_joins_again_and_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would wait for a poll to raise it, which never comes: the member would be gone without a word."""
    coordination = Coordination()
    thread = a_thread(monkeypatch, coordination)
    assert coordination._heartbeat_task is not None
    coordination._heartbeat_task.set_exception(KafkaError("unexpected"))
    await asyncio.wait_for(thread._go_on_after(KafkaError("unexpected")), 5)
    assert (coordination._heartbeat_task, coordination.rejoins, thread.consumer.refused) == (None, 1, None)


async def test_a_session_that_the_group_refuses_is_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = a_thread(monkeypatch, Coordination())
    await thread._go_on_after(InvalidSessionTimeoutError())
    assert isinstance(thread.consumer.refused, InvalidSessionTimeoutError)


@pytest.mark.requirement("F2", "F3")
@pytest.mark.parametrize(
    ("answers", "done"),
    [
        ([None], True),
        ([CoordinatorLoadInProgressError(), CoordinatorNotAvailableError(), None], True),
        ([CoordinatorNotAvailableError()] * commits.TRIES, False),
        ([IllegalGenerationError()], False),
        ([KafkaError("whatever")], False),
    ],
)
async def test_a_commit_that_does_not_work_now_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, answers: list[KafkaError | None], done: bool
) -> None:
    coordination = Coordination(*answers)
    thread = a_thread(monkeypatch, coordination)
    assert await thread._commit_offsets(dict.fromkeys(TPS, 7)) == (TPS if done else set())
    assert coordination.commits == len(answers)


async def test_nothing_is_committed_of_what_is_not_ours_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an assignment that was given up; of a topic beside the subscription the partition's number says so."""
    coordination = Coordination(None)
    committed = await a_thread(monkeypatch, coordination)._commit_offsets({TP("events.b", 1): 7, TP("events.b", 0): 3})
    assert (committed, coordination.commits) == ({TP("events.b", 0)}, 1)
