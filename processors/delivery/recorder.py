"""Records what has become of deliveries, many at a time: outcomes on the log first, then changes of the retry table.

What ends while one group is on its way makes up the next group. Only one group is under way at a time, so that a
table's changes are applied in the order of its changelog. A delivery counts as recorded once the broker has confirmed
all of it.

If outcome and table change left together, a crash could keep the change and lose the outcome: the log would miss the
outcome of one attempt. With only the outcome kept, the attempt is made again under its number. A first attempt that
succeeds changes no table, so it waits for one confirmation only.

For a partition that was revoked only acknowledgements are recorded: they are true whoever owns the partition. The next
owner makes the other attempts again and counts them.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from domain.delivery.retry_table import Due, RetryTable
from domain.delivery.states import RECORDED, DeliveryInput
from domain.events.status import RouteState
from operations import clock
from operations.logs import event
from processors.delivery import metrics
from processors.delivery.loaded import AssignedPartition, LoadedDelivery
from processors.runtime.agent import AgentRuntime, LeaseLost, OutboxFailed, Work
from schemas.commands import command_key
from schemas.records import Command, Outcome
from schemas.topics import Topic

log = logging.getLogger(__name__)
TABLE = "waiting"
SWEEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ToStore:
    """A delivery from the log that has to wait in the retry table before its first attempt."""

    delivery: LoadedDelivery
    due_ms: int


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """`command`: what the control process is asked to do because of it."""

    delivery: LoadedDelivery
    outcome: Outcome
    first_ms: int
    command: Command | None = None


ToRecord = ToStore | AttemptEnded


class RecordedItem(NamedTuple):
    """`received`: what it means for the delivery's state. `now_waiting`: new rows of the retry table's index."""

    item: ToRecord
    received: DeliveryInput
    now_waiting: list[Due]


class Recorder:
    """`run` as a task; it raises OutboxFailed if the broker refuses a record for good. If the assignment ends first,
    the items are released: the next owner makes those attempts again. `on_recorded` is called for every item.
    """

    def __init__(self, runtime: AgentRuntime, on_recorded: Callable[[RecordedItem], None]) -> None:
        self._runtime = runtime
        self._on_recorded = on_recorded
        self._added: list[ToRecord] = []
        self._unconfirmed = 0
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._swept_at: dict[int, float] = {}
        metrics.UNCONFIRMED_OUTCOMES.set_function(lambda: self._unconfirmed)

    def add(self, item: ToRecord) -> None:
        self._added.append(item)
        self._unconfirmed += 1
        self._idle.clear()
        self._arrived.set()

    async def idle(self) -> None:
        """Returns when all items that were added are confirmed or released."""
        await self._idle.wait()

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self._record_added()

    async def _record_added(self) -> None:
        group, self._added = self._added, []
        try:
            recorded = await self._record(group)
        except (LeaseLost, OutboxFailed) as over:
            if isinstance(over, OutboxFailed) and not over.passes:
                raise
            self._runtime.fail(over)  # first: from here on nothing of this assignment is committed
            recorded = [RecordedItem(item, DeliveryInput.RELEASE, []) for item in group]
        for one in recorded:
            self._on_recorded(one)
        self._unconfirmed -= len(group)
        if self._unconfirmed == 0:
            self._idle.set()

    async def _record(self, group: Iterable[ToRecord]) -> list[RecordedItem]:
        """Waits for all partitions, then raises the first error."""
        by_partition: dict[AssignedPartition, list[ToRecord]] = {}
        for item in group:
            by_partition.setdefault(item.delivery.partition, []).append(item)
        confirmations: list[Coroutine[Any, Any, None]] = []
        recorded: list[RecordedItem] = []
        try:
            for partition, items in by_partition.items():
                if partition.revoked:
                    staged, confirmation = self._stage_acknowledged(items)
                else:
                    staged, confirmation = self._stage(partition, items)
                recorded += staged
                confirmations.append(confirmation)
        finally:
            ended = await asyncio.gather(*confirmations, return_exceptions=True)
        for error in filter(None, ended):
            raise error
        return recorded

    def _stage(
        self, partition: AssignedPartition, items: Iterable[ToRecord]
    ) -> tuple[list[RecordedItem], Coroutine[Any, Any, None]]:
        work = self._runtime.begin_at(partition.tp.partition)
        table = RetryTable(work.table(TABLE))
        staged: list[RecordedItem] = []
        for item in items:
            if isinstance(item, ToStore):
                staged.append(_store(table, item))
            else:
                staged.append(_end_attempt(table, item))
                _produce(work.produce, item)
        self._sweep(table, partition.tp.partition)
        return staged, _outcomes_then_table(work)

    def _sweep(self, table: RetryTable, partition: int) -> None:
        now = time.monotonic()
        if now - self._swept_at.get(partition, 0.0) > SWEEP_SECONDS:
            self._swept_at[partition] = now
            table.sweep(clock.now_ms())

    def _stage_acknowledged(self, items: Iterable[ToRecord]) -> tuple[list[RecordedItem], Coroutine[Any, Any, None]]:
        out = self._runtime.outputs()
        staged: list[RecordedItem] = []
        for item in items:
            if isinstance(item, AttemptEnded) and item.outcome.status == RouteState.DELIVERED:
                _produce(out.produce, item)
                staged.append(RecordedItem(item, DeliveryInput.RECORDED_DELIVERED, []))
            else:
                staged.append(RecordedItem(item, DeliveryInput.RELEASE, []))
        released = sum(one.received is DeliveryInput.RELEASE for one in staged)
        if released:
            event(log, "delivery.left_to_next_owner", deliveries=released)
        return staged, out.confirmed()


async def _outcomes_then_table(work: Work) -> None:
    await work.records_confirmed()
    await work.commit()


def _store(table: RetryTable, item: ToStore) -> RecordedItem:
    delivery = item.delivery
    now_waiting = table.store(
        delivery.delivery_id,
        delivery.value,
        delivery.endpoint_id,
        due_ms=item.due_ms,
        sequence=delivery.offset or 0,
        order_key=delivery.order_key,
    )
    return RecordedItem(item, DeliveryInput.STORED if now_waiting else DeliveryInput.STORED_BEHIND, now_waiting)


def _end_attempt(table: RetryTable, item: AttemptEnded) -> RecordedItem:
    delivery, outcome = item.delivery, item.outcome
    received = RECORDED[RouteState(outcome.status)]
    due_ms = outcome.completed_ms if outcome.status == RouteState.DISABLED else outcome.next_attempt_ms
    if due_ms is None:
        now_waiting = table.end(outcome.delivery_id, attempts=outcome.attempt, now_ms=outcome.completed_ms)
        return RecordedItem(item, received, now_waiting)
    now_waiting = table.schedule_next(
        outcome.delivery_id,
        delivery.value,
        delivery.endpoint_id,
        attempts=outcome.attempt,
        first_ms=item.first_ms,
        due_ms=due_ms,
    )
    return RecordedItem(item, received, now_waiting)


def _produce(produce: Callable[..., None], item: AttemptEnded) -> None:
    outcome = item.outcome
    produce(Topic.OUTCOMES, outcome.encode(), key=outcome.event_id.encode())
    if item.command is not None:
        produce(Topic.COMMANDS, item.command.encode(), key=command_key(item.command))
