"""Brings deliveries whose time has come from the table into their lanes, a few of each endpoint at a time.

The table holds each endpoint's deliveries by due time, so one look at a lane finds its next without passing those of
others: a disabled or slow endpoint's backlog costs nobody else a step. In memory stand, besides those few, one time a
lane. A lane that has no room is looked at again when one of its attempts has ended; one whose circuit is open when that
may be probed; a disabled one when its workflow changes on `control`.
"""

import asyncio
from collections.abc import Callable

from domain.delivery.endpoint_queues import Lanes
from domain.delivery.gates import Gates
from domain.delivery.retry_table import Due, entry_of, in_lane, lane_prefix, lanes_of, record_of
from domain.delivery.schedule import Schedule
from operations import clock
from processors.delivery import metrics
from processors.delivery.pending import Limits, Partition, Pending, pending_again
from schemas.entities import State, Target

LOOK_SECONDS_MAX = 1.0  # the wall clock may be set, or the machine sleep
LANES_A_TURN = 16
Place = tuple[Partition, str]


class Feeder:
    """`start_what_may` is called after lanes were filled."""

    def __init__(self, lanes: Lanes[Pending], gates: Gates, limits: Limits, start_what_may: Callable[[], None]) -> None:
        self._lanes = lanes
        self._gates = gates
        self._limits = limits
        self._start_what_may = start_what_may
        self._schedule: Schedule[Place] = Schedule()
        self._held: dict[str, set[Partition]] = {}
        """By lane: partitions of which more is due than its budget lets into memory, or which are disabled."""
        self._hungry: dict[bool, dict[Place, None]] = {True: {}, False: {}}
        """Due, but all the memory for such is taken: those that are quick, and the others."""
        self._fetched = 0
        self._fetched_bytes = 0
        self._noted = asyncio.Event()
        self.paused = False
        metrics.FETCHED.set_function(lambda: self._fetched)

    # What is told from outside

    def load(self, partition: Partition) -> None:
        """A partition was opened: when each of its lanes is due."""
        assert partition.table is not None
        for first in lanes_of(partition.table):
            self._note(partition, first.lane, first.due_ms)

    def placed(self, partition: Partition, due: Due) -> None:
        """This place was written to the table."""
        cursor = partition.cursors.get(due.lane)
        if cursor is not None and due.key < cursor:
            partition.cursors[due.lane] = due.key
        self._note(partition, due.lane, due.due_ms)

    def rewind(self, partition: Partition, lane: str, at_ms: int) -> None:
        """What was taken from the table of this lane has gone back: look at all of it at `at_ms`."""
        partition.cursors.pop(lane, None)
        self._note(partition, lane, at_ms)

    def is_behind(self, partition: Partition, lane: str) -> bool:
        """Whether deliveries of this lane wait in the table though they are due: a new one goes behind them."""
        return partition in self._held.get(lane, ()) or self._is_hungry(partition, lane) or lane in partition.spilling

    def _is_hungry(self, partition: Partition, lane: str) -> bool:
        return any((partition, lane) in hungry for hungry in self._hungry.values())

    def memory_of(self, lane: str) -> int:
        """How many of a lane may stand in memory, running ones included: of a slow one its share and the next."""
        limits = self._limits
        if self._lanes.is_quick(lane):
            return limits.endpoint_pending_max
        if not self._lanes.is_slow(lane):
            return 2 * limits.unknown_running_max
        share = limits.not_quick_running_max // self._lanes.slow_lanes
        return max(2, min(limits.endpoint_pending_max, 2 * share))

    def released(self, pending: Pending) -> None:
        """One that came from the table has left memory."""
        self._fetched -= 1
        self._fetched_bytes -= pending.size_bytes
        pending.partition.in_memory.discard(pending.delivery.delivery_id)

    def lane_has_room(self, lane: str) -> None:
        """An attempt of this lane has ended, or its state on `control` has changed."""
        for partition in self._held.pop(lane, ()):
            self._note(partition, lane, 0)
        for quick, hungry in self._hungry.items():
            if hungry and self._has_memory(quick=quick):
                place = next(iter(hungry))
                del hungry[place]
                self._note(*place, 0)
                return

    def workflow_changed(self, _before: State | None, after: State | None) -> None:
        """Listener of ControlView."""
        state = after or _before
        if isinstance(state, Target):
            self.lane_has_room(state.entity_id)

    def drop(self, partition: Partition) -> None:
        """It was revoked."""
        self._schedule.drop(lambda place: place[0] is partition)
        for lane, partitions in list(self._held.items()):
            partitions.discard(partition)
            if not partitions:
                del self._held[lane]
        for hungry in self._hungry.values():
            for place in [place for place in hungry if place[0] is partition]:
                del hungry[place]

    def pause(self) -> None:
        """Nothing is brought into the lanes until `resume`."""
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._noted.set()

    # The clock

    async def run(self) -> None:
        while True:
            self._noted.clear()
            due = [] if self.paused else self._schedule.take(clock.now_ms())
            for number, (partition, lane) in enumerate(due, start=1):
                self._fill(partition, lane)
                if number % LANES_A_TURN == 0:
                    self._start_what_may()
                    await asyncio.sleep(0)
            if due:
                self._start_what_may()
            await self._until_due()

    async def _until_due(self) -> None:
        next_ms = self._schedule.next_ms()
        seconds = LOOK_SECONDS_MAX if next_ms is None or self.paused else (next_ms - clock.now_ms()) / 1_000
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(min(seconds, LOOK_SECONDS_MAX)):
                await self._noted.wait()
        except TimeoutError:
            return

    def _note(self, partition: Partition, lane: str, at_ms: int) -> None:
        if self._schedule.note((partition, lane), at_ms):
            self._noted.set()

    def _fill(self, partition: Partition, lane: str) -> None:
        if partition.revoked or partition.table is None or self.paused:
            return
        now_ms = clock.now_ms()
        if self._gates.is_disabled(lane):
            self._hold(partition, lane)
            return
        probes_at_ms = self._gates.probes_at_ms(lane, now_ms)
        if probes_at_ms is not None:
            self._note(partition, lane, probes_at_ms)
            return
        room = min(2 * self._gates.room(lane, now_ms), self.memory_of(lane)) - self._lanes.count(lane)
        quick = self._lanes.is_quick(lane)
        for due in in_lane(partition.table, lane, partition.cursors.get(lane, lane_prefix(lane))):
            if due.due_ms > now_ms:
                self._note(partition, lane, due.due_ms)
                return
            if due.delivery_id in partition.in_memory:
                continue
            if room <= 0:
                self._hold(partition, lane)
                return
            if not self._has_memory(quick=quick):
                self._hungry[quick][partition, lane] = None
                return
            room -= self._fetch(partition, due)
            partition.cursors[lane] = due.key
        partition.cursors.pop(lane, None)

    def _fetch(self, partition: Partition, due: Due) -> int:
        """Into its lane; how many that were. A place that its entry no longer names is passed over."""
        assert partition.table is not None
        entry = entry_of(partition.table, due.delivery_id)
        value = record_of(partition.table, due.delivery_id)
        if entry is None or value is None or entry.due_ms != due.due_ms:
            return 0
        pending = pending_again(partition, value, entry)
        partition.in_memory.add(due.delivery_id)
        self._fetched += 1
        self._fetched_bytes += pending.size_bytes
        self._lanes.add(pending.lane, pending)
        return 1

    def _hold(self, partition: Partition, lane: str) -> None:
        self._held.setdefault(lane, set()).add(partition)

    def _has_memory(self, *, quick: bool) -> bool:
        """Endpoints that are not quick leave a part of it to the others."""
        limits = self._limits
        share = 1.0 if quick else limits.fetched_of_slow_share
        return self._fetched < share * limits.fetched_max and self._fetched_bytes < share * limits.fetched_bytes_max
