"""Loads deliveries whose time has come from the retry table into the endpoint queues, and takes them back.

The table holds each endpoint's deliveries by due time. So one look at an endpoint finds its next delivery without
passing those of others: the backlog of a disabled or slow endpoint costs the others nothing. Memory has the loaded
deliveries, a few for each endpoint, and one due time for each endpoint. `WaitReason` (domain/delivery/states.py) says
why the rest of an endpoint's deliveries wait, and so what makes the loader look again.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import NamedTuple

from domain.delivery.due_times import DueTimes
from domain.delivery.endpoint_gates import EndpointGates
from domain.delivery.endpoint_queues import EndpointQueues
from domain.delivery.retry_table import (
    Due,
    due_of_endpoint,
    due_prefix,
    entry_of,
    first_due_of_each_endpoint,
    record_of,
)
from domain.delivery.states import DeliveryInput, DeliveryState, Keeper, WaitReason
from operations import clock
from processors.delivery import metrics
from processors.delivery.limits import Limits
from processors.delivery.loaded import AssignedPartition, LoadedDelivery, load_delivery
from processors.delivery.recorder import Recorder, ToStore
from schemas.entities import State, Target

LOOK_SECONDS_MAX = 1.0  # the wall clock may be set, or the machine sleep
ENDPOINTS_AT_ONCE = 16


class _Backlog(NamedTuple):
    """What waits in one partition's table for one endpoint."""

    partition: AssignedPartition
    endpoint_id: str


class _Wait(NamedTuple):
    """Why the rest of a backlog is not loaded. `until_ms`: when to look again, for the reasons that have a time."""

    reason: WaitReason
    until_ms: int = 0


class DueLoader:
    """`start_attempts` is called after queues were filled. The task `run` does the loading."""

    def __init__(
        self,
        queues: EndpointQueues[LoadedDelivery],
        gates: EndpointGates,
        recorder: Recorder,
        limits: Limits,
        start_attempts: Callable[[], None],
    ) -> None:
        self._queues = queues
        self._gates = gates
        self._recorder = recorder
        self._limits = limits
        self._start_attempts = start_attempts
        self._due_times: DueTimes[_Backlog] = DueTimes()
        """Backlogs that wait for a time (DUE_TIME, CIRCUIT)."""
        self._blocked: dict[str, set[AssignedPartition]] = {}
        """By endpoint id: backlogs that wait for their endpoint (FREE_SLOT, REACTIVATION)."""
        self._starved: dict[bool, dict[_Backlog, None]] = {True: {}, False: {}}
        """Backlogs that wait for memory (MEMORY): those of quick endpoints, and the others."""
        self._loaded = 0
        self._loaded_bytes = 0
        self._noted = asyncio.Event()
        self._paused = False
        metrics.FETCHED.set_function(lambda: self._loaded)

    # What others report

    def open(self, partition: AssignedPartition) -> None:
        """The partition's table was opened: notes when each of its endpoints is due."""
        assert partition.table is not None
        for first in first_due_of_each_endpoint(partition.table):
            self._note(_Backlog(partition, first.endpoint_id), first.due_ms)

    def now_waits(self, partition: AssignedPartition, due: Due) -> None:
        """This row came into the table's index."""
        cursor = partition.cursors.get(due.endpoint_id)
        if cursor is not None and due.key < cursor:
            partition.cursors[due.endpoint_id] = due.key
        self._note(_Backlog(partition, due.endpoint_id), due.due_ms)

    def slot_freed(self, endpoint_id: str) -> None:
        """An attempt of this endpoint was recorded, or the endpoint's state on `control` has changed."""
        for partition in self._blocked.pop(endpoint_id, ()):
            self._note(_Backlog(partition, endpoint_id), 0)
        for quick, starved in self._starved.items():
            if starved and self._has_memory(quick=quick):
                backlog = next(iter(starved))
                del starved[backlog]
                self._note(backlog, 0)
                return

    def workflow_changed(self, before: State | None, after: State | None) -> None:
        """Listener of ControlView."""
        state = after or before
        if isinstance(state, Target):
            self.slot_freed(state.entity_id)

    def forget(self, partition: AssignedPartition) -> None:
        """The partition was revoked."""
        self._due_times.drop(lambda backlog: backlog.partition is partition)
        for endpoint_id, partitions in list(self._blocked.items()):
            partitions.discard(partition)
            if not partitions:
                del self._blocked[endpoint_id]
        for starved in self._starved.values():
            for backlog in [one for one in starved if one.partition is partition]:
                del starved[backlog]

    def pause(self) -> None:
        """Loads nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._noted.set()

    # What others ask

    def has_backlog(self, partition: AssignedPartition, endpoint_id: str) -> bool:
        """Whether deliveries of this endpoint wait in the table though they are due. A new one goes behind them."""
        if endpoint_id in partition.storing or partition in self._blocked.get(endpoint_id, ()):
            return True
        return any((partition, endpoint_id) in starved for starved in self._starved.values())

    def loaded_max(self, endpoint_id: str) -> int:
        """How many deliveries of an endpoint may be in memory, running ones included. Slow endpoints share the running
        limit; each may have its part and as many again.
        """
        limits = self._limits
        if self._queues.is_quick(endpoint_id):
            return limits.endpoint_loaded_max
        if not self._queues.is_slow(endpoint_id):
            return 2 * limits.unknown_running_max
        part = limits.not_quick_running_max // self._queues.slow_endpoints
        return max(2, min(limits.endpoint_loaded_max, 2 * part))

    # Out of memory again

    def store(self, delivery: LoadedDelivery, due_ms: int = 0) -> None:
        """A delivery from the log that can't be attempted now goes into the table. `due_ms` 0: now. Its state is
        STORING.
        """
        metrics.SPILLED.inc()
        storing = delivery.partition.storing
        storing[delivery.endpoint_id] = storing.get(delivery.endpoint_id, 0) + 1
        self._recorder.add(ToStore(delivery, due_ms or clock.now_ms()))

    def postpone(self, delivery: LoadedDelivery, due_ms: int = 0) -> None:
        """The delivery goes into the table, or back there, until `due_ms` (0: now)."""
        kept_by = delivery.kept_by
        delivery.receive(DeliveryInput.POSTPONE)
        if kept_by is Keeper.LOG:
            self.store(delivery, due_ms)
            return
        self.unloaded(delivery)
        delivery.partition.cursors.pop(delivery.endpoint_id, None)
        self._note(_Backlog(delivery.partition, delivery.endpoint_id), due_ms)

    def withdraw(self, endpoint_id: Hashable) -> None:
        """Nothing is sent to the endpoint for now: the deliveries in its queue go into the table, or back there."""
        for delivery in self._queues.withdraw(endpoint_id):
            if delivery.partition.revoked:
                self.release(delivery)
            else:
                self.postpone(delivery)

    def release(self, delivery: LoadedDelivery) -> None:
        """This process gives the delivery up; the partition's next owner goes on with it."""
        kept_by = delivery.kept_by
        delivery.receive(DeliveryInput.RELEASE)
        if kept_by is Keeper.LOG:
            delivery.partition.remove(delivery, kept_by)
        else:
            self.unloaded(delivery)

    def unloaded(self, delivery: LoadedDelivery) -> None:
        """A delivery that came from the table has left memory."""
        self._loaded -= 1
        self._loaded_bytes -= delivery.size_bytes
        delivery.partition.remove(delivery, Keeper.TABLE)

    # The task

    async def run(self) -> None:
        while True:
            self._noted.clear()
            due = [] if self._paused else self._due_times.take(clock.now_ms())
            for number, backlog in enumerate(due, start=1):
                self._look_at(backlog)
                if number % ENDPOINTS_AT_ONCE == 0:
                    self._start_attempts()
                    await asyncio.sleep(0)
            if due:
                self._start_attempts()
            await self._until_due()

    async def _until_due(self) -> None:
        next_ms = self._due_times.next_ms()
        seconds = LOOK_SECONDS_MAX if next_ms is None or self._paused else (next_ms - clock.now_ms()) / 1_000
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(min(seconds, LOOK_SECONDS_MAX)):
                await self._noted.wait()
        except TimeoutError:
            return

    def _note(self, backlog: _Backlog, at_ms: int) -> None:
        if self._due_times.note(backlog, at_ms):
            self._noted.set()

    def _look_at(self, backlog: _Backlog) -> None:
        if backlog.partition.revoked or backlog.partition.table is None or self._paused:
            return
        wait = self._load_due(backlog, clock.now_ms())
        if wait is None:
            return
        match wait.reason:
            case WaitReason.DUE_TIME | WaitReason.CIRCUIT:
                self._note(backlog, wait.until_ms)
            case WaitReason.FREE_SLOT | WaitReason.REACTIVATION:
                self._blocked.setdefault(backlog.endpoint_id, set()).add(backlog.partition)
            case WaitReason.MEMORY:
                self._starved[self._queues.is_quick(backlog.endpoint_id)][backlog] = None

    def _load_due(self, backlog: _Backlog, now_ms: int) -> _Wait | None:
        """Loads what may be loaded now. Returns why the rest waits; None: nothing is left."""
        partition, endpoint_id = backlog
        assert partition.table is not None
        if self._gates.is_disabled(endpoint_id):
            return _Wait(WaitReason.REACTIVATION)
        probes_at_ms = self._gates.probes_at_ms(endpoint_id, now_ms)
        if probes_at_ms is not None:
            return _Wait(WaitReason.CIRCUIT, probes_at_ms)
        loaded_max = min(2 * self._gates.running_max(endpoint_id, now_ms), self.loaded_max(endpoint_id))
        free_slots = loaded_max - self._queues.count(endpoint_id)
        quick = self._queues.is_quick(endpoint_id)
        since = partition.cursors.get(endpoint_id, due_prefix(endpoint_id))
        for due in due_of_endpoint(partition.table, endpoint_id, since):
            if due.due_ms > now_ms:
                return _Wait(WaitReason.DUE_TIME, due.due_ms)
            if due.delivery_id in partition.loaded:
                continue
            if free_slots <= 0:
                return _Wait(WaitReason.FREE_SLOT)
            if not self._has_memory(quick=quick):
                return _Wait(WaitReason.MEMORY)
            free_slots -= self._load(partition, due)
            partition.cursors[endpoint_id] = due.key
        partition.cursors.pop(endpoint_id, None)
        return None

    def _load(self, partition: AssignedPartition, due: Due) -> int:
        """Into its endpoint's queue; returns how many that were. An index row that the entry does not confirm is passed
        over.
        """
        assert partition.table is not None
        entry = entry_of(partition.table, due.delivery_id)
        value = record_of(partition.table, due.delivery_id)
        if entry is None or value is None or entry.state is not DeliveryState.WAITING or entry.due_ms != due.due_ms:
            return 0
        delivery = load_delivery(partition, value, entry)
        partition.add(delivery)
        self._loaded += 1
        self._loaded_bytes += delivery.size_bytes
        self._queues.add(delivery.endpoint_id, delivery)
        return 1

    def _has_memory(self, *, quick: bool) -> bool:
        """Endpoints that are not quick leave a part of the memory to the others."""
        limits = self._limits
        share = 1.0 if quick else limits.not_quick_from_table_share
        return self._loaded < share * limits.from_table_max and self._loaded_bytes < share * limits.from_table_bytes_max
