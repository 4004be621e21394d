"""The Faust shell of delivery: reads `deliveries`, makes attempts as the lanes allow, confirms what is finished.

A delivery from the log is made at once where its endpoint has room for it; else it goes into the durable table, where
it waits for room, for the time of its next attempt, for others of its ordering key, or for its endpoint to be
reactivated. So a partition is read on whatever its endpoints do, and memory holds a few of each.
Offsets are confirmed up to the lowest delivery that is neither made nor in the table (tracker); a process that dies
makes its running attempts again after the restart: at least once, with the same delivery id, number and body.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Hashable, Sequence
from typing import Any

from faust.types import TP

from domain.delivery.circuit_breaker import BreakerLimits
from domain.delivery.decide import (
    DISABLED_TOO_LONG,
    WORKFLOW_DELETED,
    Answered,
    Attempt,
    ErrorCode,
    Failed,
    Result,
    Status,
    Written,
    outcome_of,
    speaks_against_endpoint,
)
from domain.delivery.disabling import disable_command
from domain.delivery.endpoint_queues import Lanes
from domain.delivery.gates import Gates
from domain.delivery.retry_schedule import EndpointClass
from domain.delivery.retry_table import STAMP, Due
from domain.delivery.subscribed import Content, content_for
from operations import clock
from operations.logs import Sparse, event
from processors.delivery import metrics
from processors.delivery.endpoints import Endpoints, Route, RouteUnknown
from processors.delivery.feeder import Feeder
from processors.delivery.http_client import HttpClient, Post
from processors.delivery.pending import Limits, Partition, Pending, read_pending
from processors.delivery.route_topics import TopicWriter, topic_record
from processors.delivery.settling import TABLE, Ended, Settled, Settler, TakenIn
from processors.runtime.batches import Batch
from processors.runtime.runtime import Runtime
from schemas.entities import Subscription
from schemas.log_records import LogRecord
from schemas.records import Outcome
from schemas.topics import DAY_MS, Topic

log = logging.getLogger(__name__)
sparse = Sparse(log)
RECORDS_A_TURN = 64  # read without letting attempts have the loop
WATCH_SECONDS = 0.25
STARTS_A_TURN = 8
STOP_MARGIN_SECONDS = 1.0
REVOKED_WAIT_SECONDS = 3.0
UNKNOWN_ROUTE_MS = 1_000
KEPT_MS = 30 * DAY_MS  # as long as `deliveries` keeps them


class DeliveryAgent:
    def __init__(self, runtime: Runtime, limits: Limits) -> None:
        settings = runtime.settings
        private = settings.allow_private_targets
        self._runtime = runtime
        self._limits = limits
        self._timeout_seconds = settings.attempt_timeout_seconds
        self._schedules = settings.retry_schedules
        self._client = HttpClient(self._timeout_seconds, allow_private_targets=private)
        self._topics = TopicWriter(settings.kafka, settings.partitions, self._timeout_seconds)
        self._endpoints = Endpoints(runtime.control, settings.master_key, allow_private_targets=private)
        self._gates = Gates(runtime.control.view, BreakerLimits(budget=limits.endpoint_running_max))
        self._lanes: Lanes[Pending] = Lanes(
            limits.running_max,
            lambda lane: self._gates.room(lane, clock.now_ms()),
            not_quick_running_max=limits.not_quick_running_max,
            unknown_running_max=limits.unknown_running_max,
        )
        self._feeder = Feeder(self._lanes, self._gates, limits, self._start_what_may)
        self._settler = Settler(runtime, self._written)
        self._partitions: dict[TP, Partition] = {}
        self._attempts: dict[asyncio.Task[None], tuple[str, float]] = {}
        """With their lanes, and when they began (monotonic)."""
        self._draining = False
        self._more_may_start = asyncio.Event()
        self._running = [
            self._watched(self._settler.run()),
            self._watched(self._feeder.run()),
            self._watched(self._watch()),
            self._watched(self._go_on_starting()),
        ]
        runtime.control.view.on_change(self._feeder.workflow_changed)
        metrics.RUNNING.set_function(lambda: self._lanes.running)
        metrics.WAITING.set_function(lambda: self._lanes.waiting)
        metrics.OPEN_CIRCUITS.set_function(self._gates.open_circuits)

    # From the log into the lanes

    async def handle(self, batch: Batch) -> None:
        """Returns when all of the batch runs, waits or is on its way to the table, or where it is not ours any more."""
        partition = self._partition_of(batch)
        await partition.opened.wait()
        # All are opened before any is taken in, so that what is left out below holds back what may be confirmed.
        records = [record for record in batch.records if partition.tracker.open(record.offset)]
        unreadable: list[tuple[LogRecord, Exception]] = []
        for number, record in enumerate(records, start=1):
            await self._room(partition)
            if self._draining or partition.revoked:
                return
            try:
                pending = read_pending(partition, record, self._gates.is_ordered)
            except Exception as error:  # of any kind: an unreadable record never stops the ones beside it
                unreadable.append((record, error))
            else:
                self._take_in(pending)
            if number % RECORDS_A_TURN == 0:
                await asyncio.sleep(0)
        if unreadable:
            await self._set_aside(batch, partition, unreadable)

    async def _room(self, partition: Partition) -> None:
        """Quick endpoints make room themselves; where that takes long, the longest lane goes into the table."""
        if partition.has_room(self._limits):
            return
        metrics.BACKPRESSURE.inc()
        while not (partition.has_room(self._limits) or self._draining or partition.revoked):
            partition.freed.clear()
            try:
                async with asyncio.timeout(self._limits.full_seconds):
                    await partition.freed.wait()
            except TimeoutError:
                for lane in self._lanes.slow_waiting() or [self._lanes.longest()]:
                    self._withdraw(lane)

    def _take_in(self, pending: Pending) -> None:
        partition, lane = pending.partition, pending.lane
        if partition.knows(pending.delivery.delivery_id):
            assert pending.offset is not None
            self._confirm(partition, partition.tracker.finish(pending.offset))
            return
        partition.take_in(pending)
        if self._may_go_now(pending):
            self._lanes.add(lane, pending)
            self._start_what_may()
        else:
            self._spill(pending)

    def _may_go_now(self, pending: Pending) -> bool:
        """It goes behind whatever of its endpoint waits in the table already."""
        lane = pending.lane
        return not (
            pending.order_key
            or self._feeder.is_behind(pending.partition, lane)
            or self._is_slow(pending)
            or self._gates.is_disabled(lane)
            or not self._gates.is_closed(lane)
        )

    def _is_slow(self, pending: Pending) -> bool:
        """Its endpoint has many in memory, and the first of them has waited for long; or it is known for that."""
        if self._lanes.is_slow(pending.lane):
            return self._lanes.count(pending.lane) >= self._feeder.memory_of(pending.lane)
        if self._lanes.count(pending.lane) < self._limits.endpoint_pending_max:
            return False
        first = self._lanes.first_waiting(pending.lane)
        return first is not None and pending.read_at - first.read_at > self._limits.slow_seconds

    def _spill(self, pending: Pending, due_ms: int = 0) -> None:
        metrics.SPILLED.inc()
        spilling = pending.partition.spilling
        spilling[pending.lane] = spilling.get(pending.lane, 0) + 1
        self._settler.add(TakenIn(pending, due_ms or clock.now_ms()))

    async def _set_aside(
        self, batch: Batch, partition: Partition, unreadable: Sequence[tuple[LogRecord, Exception]]
    ) -> None:
        work = self._runtime.begin(batch)
        for record, error in unreadable:
            work.dead_letter(record, "unreadable", str(error))
        await work.commit()
        for record, _error in unreadable:
            self._confirm(partition, partition.tracker.finish(record.offset))

    # Attempts

    def _start_what_may(self) -> None:
        """A few, then the loop has its turn: many that begin together would hold up whatever comes in meanwhile."""
        for _ in range(STARTS_A_TURN):
            taken = self._lanes.take()
            if taken is None:
                return
            pending, lane = taken[1], taken[1].lane
            if pending.partition.revoked:
                self._lanes.done(lane)
                continue
            begun = self._gates.of(lane).breaker.start()
            attempt = self._watched(self._attempt(pending, begun))
            self._attempts[attempt] = lane, time.monotonic()
            attempt.add_done_callback(self._attempts.pop)
        self._more_may_start.set()

    async def _go_on_starting(self) -> None:
        while True:
            await self._more_may_start.wait()
            await asyncio.sleep(0)
            self._more_may_start.clear()
            self._start_what_may()

    async def _watch(self) -> None:
        """Finds endpoints that are slow before their attempts have ended, where it matters."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self._lanes.running * 2 > self._limits.not_quick_running_max:
                self._mark_slow(time.monotonic() - self._limits.slow_seconds)
                self._start_what_may()

    def _mark_slow(self, begun_before: float) -> None:
        for lane, began in self._attempts.values():
            if began < begun_before:
                self._lanes.mark(lane, quick=False)

    async def _attempt(self, pending: Pending, begun: int) -> None:
        """One attempt, handed to the settler. The lane is free again before its outcome is confirmed."""
        delivery = pending.delivery
        gate = self._gates.of(pending.lane)
        started_ms, began = clock.now_ms(), time.monotonic()
        opened = False
        try:
            route = await self._endpoints.find(delivery, pending.read_at)
            result = await self._result(route, pending, started_ms)
            opened = gate.breaker.end(begun, answered=not speaks_against_endpoint(result), now_ms=clock.now_ms())
            self._note_pace(pending.lane, result, time.monotonic() - began)
        except RouteUnknown:
            sparse.event("route.unknown", "unknown", logging.WARNING, why="control can't be read to its end")
            self._put_back(pending, clock.now_ms() + UNKNOWN_ROUTE_MS)
            return
        finally:
            self._lanes.done(pending.lane)
            self._more_may_start.set()
        first_ms = pending.first_ms or started_ms
        name = delivery.workflow_id if route is None else route.workflow.name
        attempt = Attempt(pending.attempt, name, first_ms, started_ms, clock.now_ms(), result)
        outcome = outcome_of(delivery, attempt, self._schedules[EndpointClass.EVENTS if route is None else route.kind])
        command = None
        if outcome.status == Status.DISABLED and route is not None:
            gate.answered_410 = route.workflow
            command = disable_command(delivery, route.workflow, outcome)
        _observe(outcome, pending)
        self._settler.add(Ended(pending, outcome, first_ms, command))
        if opened or command is not None:
            self._withdraw(pending.lane)
        self._start_what_may()

    def _note_pace(self, lane: str, result: Result, seconds: float) -> None:
        """What fails at once says nothing of how long an answer takes."""
        if seconds > self._limits.slow_seconds:
            self._lanes.mark(lane, quick=False)
        elif isinstance(result, Answered | Written):
            self._lanes.mark(lane, quick=True)

    async def _result(self, route: Route | None, pending: Pending, now_ms: int) -> Result:
        if route is None:
            return WORKFLOW_DELETED
        if now_ms - pending.delivery.received_ms > KEPT_MS and not pending.delivery.replay:
            return DISABLED_TOO_LONG
        if route.topic is not None:
            return await self._topics.write(route.topic, topic_record(pending.delivery, pending.attempt))
        if route.endpoint is None:
            return Failed(ErrorCode.TARGET_FORBIDDEN, f"may not be sent to: {route.forbidden}")
        body, headers = Content(pending.body, {})
        if isinstance(route.workflow, Subscription):
            body, headers = content_for(route.workflow, pending.delivery)
        delivery = pending.delivery
        return await self._client.post(
            route.endpoint, Post(delivery.delivery_id, pending.attempt, body, delivery.replay, headers)
        )

    def _withdraw(self, lane: Hashable) -> None:
        """The endpoint is not to be sent to for now: what waits in memory for it goes to the table, or back there."""
        for pending in self._lanes.withdraw(lane):
            if not pending.partition.revoked:
                self._put_back(pending, 0)

    def _put_back(self, pending: Pending, due_ms: int) -> None:
        """Into the table, or back there, until `due_ms` (0: now)."""
        if pending.offset is not None:
            self._spill(pending, due_ms)
        else:
            self._feeder.released(pending)
            self._feeder.rewind(pending.partition, pending.lane, due_ms)

    def _written(self, settled: Settled, placed: Sequence[Due]) -> None:
        """The broker has it, and the table."""
        pending = settled.pending
        partition = pending.partition
        self._runtime.handled_records += 1  # for the watchdog: a batch that waits for room is not a stalled worker
        if isinstance(settled, TakenIn):
            left = partition.spilling[pending.lane] - 1
            if left:
                partition.spilling[pending.lane] = left
            else:
                del partition.spilling[pending.lane]
        if pending.offset is not None:
            self._confirm(partition, partition.finish(pending))
        else:
            self._feeder.released(pending)
        if not partition.revoked:
            for due in placed:
                self._feeder.placed(partition, due)
        self._feeder.lane_has_room(pending.lane)
        if not self._lanes.count(pending.lane):
            self._gates.forget(pending.lane)

    def _confirm(self, partition: Partition, next_offset: int | None) -> None:
        if next_offset is not None:
            self._runtime.confirm(partition.tp, next_offset)

    # Assignment, stopping

    def _partition_of(self, batch: Batch) -> Partition:
        """A new assignment reads again from what was committed, so nothing known from the one before holds."""
        partition = self._partitions.get(batch.tp)
        if partition is not None and partition.epoch is None:
            partition.epoch = batch.epoch
        if partition is None or partition.epoch != batch.epoch:
            if partition is not None:
                self._revoke(partition)
            partition = self._open(batch.tp)
            partition.epoch = batch.epoch
        return partition

    def _open(self, tp: TP) -> Partition:
        partition = self._partitions[tp] = Partition(tp)
        self._watched(self._load(partition))
        return partition

    async def _load(self, partition: Partition) -> None:
        """Its table, recovered, and when each of its lanes is due. What is closed meanwhile was revoked: a rebalance
        waits for batches, not for this.
        """
        try:
            await self._load_all(partition)
        except Exception:
            if not partition.revoked:
                raise

    async def _load_all(self, partition: Partition) -> None:
        number = partition.tp.partition
        await self._runtime.control.caught_up()
        if not await self._runtime.tables.open(number) or partition.revoked:
            if partition.tp not in self._partitions:
                self._runtime.tables.give_up(number)
            return
        partition.table = self._runtime.tables.committed(number, TABLE)
        if partition.table.get(STAMP) is None:
            work = self._runtime.begin_at(number)
            work.table(TABLE).put(STAMP, b"")
            await work.commit()
        if not partition.revoked:
            self._feeder.load(partition)
        partition.opened.set()

    def _revoke(self, partition: Partition) -> None:
        partition.revoke()
        self._feeder.drop(partition)

    async def drain(self, wait_seconds: float) -> None:
        """Starts no more, and gives what runs `wait_seconds` to end and be confirmed."""
        self._draining = True
        self._feeder.pause()
        self._clear()
        for partition in self._partitions.values():
            partition.freed.set()
        try:
            async with asyncio.timeout(wait_seconds):
                if self._attempts:
                    await asyncio.wait(self._attempts)
                await self._settler.idle()
        except TimeoutError:
            event(log, "delivery.unfinished", logging.WARNING, attempts=len(self._attempts))

    def _clear(self) -> None:
        for pending in self._lanes.clear():
            if pending.offset is None:
                self._feeder.released(pending)

    async def before_rebalance(self) -> None:
        await self.drain(self._limits.rebalance_wait_seconds)

    async def revoked(self, tps: set[TP]) -> None:
        """What runs goes on; an acknowledgement is still written. Returns when nothing changes the tables any more:
        where brokers don't take what is on its way to them, by giving it up.
        """
        for tp in tps & self._partitions.keys():
            self._revoke(self._partitions.pop(tp))
        try:
            async with asyncio.timeout(REVOKED_WAIT_SECONDS):
                await self._settler.idle()
        except TimeoutError:
            self._runtime.give_up(f"outcomes were not confirmed within {REVOKED_WAIT_SECONDS:g} s of a rebalance")
            await self._settler.idle()

    def given_up(self) -> None:
        """Nothing of any partition counts any more: its deliveries are read, and made, again."""
        self._draining = True
        self._feeder.pause()
        self._clear()
        for partition in self._partitions.values():
            self._revoke(partition)
        self._partitions.clear()

    async def assigned(self, tps: set[TP]) -> None:
        await self.revoked(set(self._partitions))
        self._draining = False
        self._feeder.resume()
        for tp in tps:
            if tp.topic == Topic.DELIVERIES:
                self._open(tp)

    async def stop(self) -> None:
        await self.drain(self._timeout_seconds + STOP_MARGIN_SECONDS)
        for task in (*self._attempts, *self._running):
            task.cancel()
        await self._client.close()
        await self._topics.close()

    def _watched(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """A task whose failure ends the process: what it should have confirmed is read again after the restart."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._check)
        return task

    def _check(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._runtime.fail(error)


def build(runtime: Runtime) -> None:
    """Called on the running loop, before the Faust app starts."""
    runtime.table(TABLE)
    agent = DeliveryAgent(runtime, Limits())
    runtime.agent("delivery", [Topic.DELIVERIES], agent.handle, confirm=False)
    runtime.on_draining(agent.before_rebalance)
    runtime.on_revoked(agent.revoked)
    runtime.on_assigned(agent.assigned)
    runtime.on_given_up(agent.given_up)
    runtime.on_stopping(agent.stop)


def _observe(outcome: Outcome, pending: Pending) -> None:
    metrics.ATTEMPTS.labels(outcome.error_code or outcome.status).inc()
    metrics.ATTEMPT_SECONDS.observe(max(0, outcome.completed_ms - outcome.started_ms) / 1_000)
    if outcome.error_code is None and outcome.attempt == 1 and not outcome.replay:
        metrics.FIRST_DELIVERY_SECONDS.observe(max(0, outcome.completed_ms - outcome.received_ms) / 1_000)
    if pending.settled and pending.due_ms:
        metrics.RETRY_LATE_SECONDS.observe(max(0, outcome.started_ms - pending.due_ms) / 1_000)
