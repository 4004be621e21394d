"""Writes down what has become of deliveries, many at a time: outcomes to the log, and then to the table.

What ended while the last group was on its way makes the next. One group is under way at a time, so that a table's
changes are applied in the order of its changelog. A delivery counts as finished once the broker has all of it.

Outcomes first, then the table's changes: were they to leave together, a crash could keep the change and lose the
outcome, and the log would miss an attempt's number. With the outcome alone kept, the attempt is made again under its
number. One that succeeds at first changes no table, so it waits for one confirmation only.

Of a partition that was revoked only acknowledgements are written: they are true whoever owns it. What failed there is
made again by the next owner, who counts that attempt.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from domain.delivery.decide import Status
from domain.delivery.retry_table import Due, Waiting
from operations import clock
from operations.logs import event
from processors.delivery import metrics
from processors.delivery.pending import Partition, Pending
from processors.runtime.lease import LeaseLost
from processors.runtime.outbox import OutboxFailed
from processors.runtime.runtime import Runtime
from processors.runtime.work import Work
from schemas.commands import command_key
from schemas.records import Command, Outcome
from schemas.topics import Topic

log = logging.getLogger(__name__)
TABLE = "waiting"
SWEEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TakenIn:
    """A delivery from the log that is not made now: it exceeds its endpoint's budget, or waits for another one."""

    pending: Pending
    due_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt. `command`: what the control process is told because of it."""

    pending: Pending
    outcome: Outcome
    first_ms: int
    command: Command | None = None


Settled = TakenIn | Ended
Callback = Callable[[Settled, Sequence[Due]], None]
"""Called when it is written; with the places in lanes that were written with it."""


class Settler:
    """`run` as a task; it raises OutboxFailed when the broker refuses a record for good. What can't be written because
    the assignment is over is left: those deliveries are made again.
    """

    def __init__(self, runtime: Runtime, written: Callback) -> None:
        self._runtime = runtime
        self._written = written
        self._added: list[Settled] = []
        self._unconfirmed = 0
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._swept_at: dict[int, float] = {}
        metrics.UNCONFIRMED_OUTCOMES.set_function(lambda: self._unconfirmed)

    def add(self, settled: Settled) -> None:
        self._added.append(settled)
        self._unconfirmed += 1
        self._idle.clear()
        self._arrived.set()

    async def idle(self) -> None:
        """Returns when all that was added is confirmed."""
        await self._idle.wait()

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self._write()

    async def _write(self) -> None:
        group, self._added = self._added, []
        try:
            placed = await self._write_all(group)
        except (LeaseLost, OutboxFailed) as over:
            if isinstance(over, OutboxFailed) and not over.passes:
                raise
            self._runtime.fail(over)  # first: from here on nothing of these is confirmed
            placed = [(settled, []) for settled in group]
        for settled, due in placed:
            self._written(settled, due)
        self._unconfirmed -= len(group)
        if self._unconfirmed == 0:
            self._idle.set()

    async def _write_all(self, group: Iterable[Settled]) -> list[tuple[Settled, list[Due]]]:
        """Raises what the first raised that failed, when all have ended."""
        by_partition: dict[Partition, list[Settled]] = {}
        for settled in group:
            by_partition.setdefault(settled.pending.partition, []).append(settled)
        confirmations: list[Coroutine[Any, Any, None]] = []
        placed: list[tuple[Settled, list[Due]]] = []
        try:
            for partition, some in by_partition.items():
                if partition.revoked:
                    confirmations.append(self._write_acknowledged(some))
                    placed += [(settled, []) for settled in some]
                else:
                    work = self._runtime.begin_at(partition.tp.partition)
                    placed += self._stage(work, some)
                    self._sweep(work, partition)
                    confirmations.append(_told_then_kept(work))
        finally:
            ended = await asyncio.gather(*confirmations, return_exceptions=True)
        for error in filter(None, ended):
            raise error
        return placed

    def _stage(self, work: Work, some: Iterable[Settled]) -> list[tuple[Settled, list[Due]]]:
        waiting = Waiting(work.table(TABLE))
        staged: list[tuple[Settled, list[Due]]] = []
        for settled in some:
            if isinstance(settled, TakenIn):
                staged.append((settled, _take_in(waiting, settled)))
            else:
                staged.append((settled, _end(waiting, settled)))
                _produce(work.produce, settled)
        return staged

    def _sweep(self, work: Work, partition: Partition) -> None:
        now = time.monotonic()
        number = partition.tp.partition
        if now - self._swept_at.get(number, 0.0) > SWEEP_SECONDS:
            self._swept_at[number] = now
            Waiting(work.table(TABLE)).sweep(clock.now_ms())

    async def _write_acknowledged(self, some: Iterable[Settled]) -> None:
        out = self._runtime.outbox.batch()
        left = 0
        for settled in some:
            if isinstance(settled, Ended) and settled.outcome.status == Status.DELIVERED:
                _produce(out.produce, settled)
            else:
                left += 1
        if left:
            event(log, "delivery.left_to_next_owner", deliveries=left)
        await out.confirmed()


async def _told_then_kept(work: Work) -> None:
    await work.records_confirmed()
    await work.commit()


def _take_in(waiting: Waiting, settled: TakenIn) -> list[Due]:
    pending = settled.pending
    return waiting.take_in(
        pending.delivery.delivery_id,
        pending.value,
        pending.lane,
        due_ms=settled.due_ms,
        sequence=pending.offset or 0,
        order_key=pending.order_key,
    )


def _end(waiting: Waiting, settled: Ended) -> list[Due]:
    pending, outcome = settled.pending, settled.outcome
    due_ms = outcome.completed_ms if outcome.status == Status.DISABLED else outcome.next_attempt_ms
    if due_ms is None:
        return waiting.ended(outcome.delivery_id, settled=outcome.attempt, now_ms=outcome.completed_ms)
    return waiting.attempted(
        outcome.delivery_id,
        pending.value,
        pending.lane,
        settled=outcome.attempt,
        first_ms=settled.first_ms,
        due_ms=due_ms,
    )


def _produce(produce: Callable[..., None], settled: Ended) -> None:
    outcome = settled.outcome
    produce(Topic.OUTCOMES, outcome.encode(), key=outcome.event_id.encode())
    if settled.command is not None:
        produce(Topic.COMMANDS, settled.command.encode(), key=command_key(settled.command))
