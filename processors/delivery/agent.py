"""The Faust shell of delivery: reads `deliveries`, makes attempts as the lanes allow, confirms what is finished.

A partition is read on while its attempts run, up to a bound on what stands in memory; past it the log holds the rest.
Offsets are confirmed up to the lowest unfinished delivery (tracker), so a process that dies makes its running attempts
again after the restart: at least once, with the same delivery id and body.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from faust.types import TP

from operations.logs import event
from processors.delivery import metrics
from processors.delivery.decide import WORKFLOW_DELETED, Attempt, ErrorCode, Failed, Result, outcome_of
from processors.delivery.endpoints import Endpoints, Route
from processors.delivery.http_client import HttpClient, Post
from processors.delivery.lanes import Lanes
from processors.delivery.outcomes import OutcomeWriter
from processors.delivery.pending import Limits, Partition, Pending, read_pending
from processors.runtime.batches import Batch, Record
from processors.runtime.runtime import Runtime
from schemas.records import Outcome
from schemas.topics import Topic

log = logging.getLogger(__name__)
FIRST_ATTEMPT = 1
RECORDS_A_TURN = 64  # read without letting attempts have the loop
STOP_MARGIN_SECONDS = 1.0


class DeliveryAgent:
    def __init__(self, runtime: Runtime, limits: Limits) -> None:
        settings = runtime.settings
        private = settings.allow_private_targets
        self._runtime = runtime
        self._limits = limits
        self._timeout_seconds = settings.attempt_timeout_seconds
        self._client = HttpClient(self._timeout_seconds, allow_private_targets=private)
        self._endpoints = Endpoints(runtime.control, settings.master_key, allow_private_targets=private)
        self._outcomes = OutcomeWriter(runtime.outbox)
        self._lanes: Lanes[Pending] = Lanes(limits.running_max, limits.endpoint_running_max)
        self._partitions: dict[TP, Partition] = {}
        self._attempts: set[asyncio.Task[None]] = set()
        self._draining = False
        self._writer = self._watched(self._outcomes.run())
        metrics.RUNNING.set_function(lambda: self._lanes.running)
        metrics.WAITING.set_function(lambda: self._lanes.waiting)

    # From the log into the lanes

    async def handle(self, batch: Batch) -> None:
        """Returns when all of the batch runs or waits in its lanes, or at once where it is no longer ours to make."""
        partition = self._partition_of(batch)
        # All are opened before any is taken in, so that what is left out below holds back what may be confirmed.
        records = [record for record in batch.records if partition.tracker.open(record.offset)]
        unreadable: list[tuple[Record, Exception]] = []
        for number, record in enumerate(records, start=1):
            await self._room(partition)
            if self._draining or partition.tracker.revoked:
                return
            try:
                pending = read_pending(partition, record)
            except Exception as error:  # of any kind: an unreadable record never stops the ones beside it
                unreadable.append((record, error))
            else:
                self._take_in(pending)
            if number % RECORDS_A_TURN == 0:
                await asyncio.sleep(0)
        if unreadable:
            await self._set_aside(batch, partition, unreadable)

    async def _room(self, partition: Partition) -> None:
        if partition.has_room(self._limits):
            return
        metrics.BACKPRESSURE.inc()
        while not (partition.has_room(self._limits) or self._draining or partition.tracker.revoked):
            partition.freed.clear()
            await partition.freed.wait()

    def _take_in(self, pending: Pending) -> None:
        pending.partition.take_in(pending)
        self._lanes.add(pending.lane, pending)
        self._start_what_may()

    async def _set_aside(
        self, batch: Batch, partition: Partition, unreadable: Sequence[tuple[Record, Exception]]
    ) -> None:
        work = self._runtime.begin(batch)
        for record, error in unreadable:
            work.dead_letter(record, "unreadable", str(error))
        await work.commit()
        for record, _error in unreadable:
            self._confirm(partition, partition.tracker.finish(record.offset))

    # Attempts

    def _start_what_may(self) -> None:
        while (taken := self._lanes.take()) is not None:
            lane, pending = taken
            if pending.partition.tracker.revoked:
                self._lanes.done(lane)
                continue
            attempt = self._watched(self._attempt(pending))
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempts.discard)

    async def _attempt(self, pending: Pending) -> None:
        """One attempt, its outcome handed to the writer. The lane is free again before the outcome is confirmed."""
        delivery = pending.delivery
        started_ms = _now_ms()
        try:
            route = await self._endpoints.find(delivery, pending.read_at)
            result = await self._result(route, pending)
        finally:
            self._lanes.done(pending.lane)
            self._start_what_may()
        name = delivery.workflow_id if route is None else route.workflow.name
        outcome = outcome_of(delivery, Attempt(FIRST_ATTEMPT, name, started_ms, _now_ms(), result))
        _observe(outcome)
        self._outcomes.add(outcome, partial(self._finish, pending))

    async def _result(self, route: Route | None, pending: Pending) -> Result:
        if route is None:
            return WORKFLOW_DELETED
        if route.endpoint is None:
            return Failed(ErrorCode.TARGET_FORBIDDEN, f"may not be sent to: {route.forbidden}")
        return await self._client.post(route.endpoint, Post(pending.delivery.delivery_id, FIRST_ATTEMPT, pending.body))

    def _finish(self, pending: Pending) -> None:
        self._runtime.handled_records += 1  # for the watchdog: a batch that waits for room is not a stalled worker
        self._confirm(pending.partition, pending.partition.finish(pending))

    def _confirm(self, partition: Partition, next_offset: int | None) -> None:
        if next_offset is not None:
            self._runtime.confirm(partition.tp, next_offset)

    # Assignment, stopping

    def _partition_of(self, batch: Batch) -> Partition:
        """A new assignment reads again from what was committed, so nothing known from the one before holds."""
        partition = self._partitions.get(batch.tp)
        if partition is None or partition.epoch != batch.epoch:
            if partition is not None:
                partition.revoke()
            partition = self._partitions[batch.tp] = Partition(batch.tp, batch.epoch)
        return partition

    async def drain(self, wait_seconds: float) -> None:
        """Starts no more, and gives what runs `wait_seconds` to end and be confirmed."""
        self._draining = True
        self._lanes.clear()
        for partition in self._partitions.values():
            partition.freed.set()
        try:
            async with asyncio.timeout(wait_seconds):
                if self._attempts:
                    await asyncio.wait(self._attempts)
                await self._outcomes.idle()
        except TimeoutError:
            event(log, "delivery.unfinished", logging.WARNING, attempts=len(self._attempts))

    async def before_rebalance(self) -> None:
        await self.drain(self._limits.rebalance_wait_seconds)

    async def revoked(self, tps: set[TP]) -> None:
        """What runs goes on and its outcome is written; it confirms nothing any more."""
        for tp in tps & self._partitions.keys():
            self._partitions.pop(tp).revoke()

    async def assigned(self, _tps: set[TP]) -> None:
        await self.revoked(set(self._partitions))
        self._draining = False

    async def stop(self) -> None:
        await self.drain(self._timeout_seconds + STOP_MARGIN_SECONDS)
        for task in (*self._attempts, self._writer):
            task.cancel()
        await self._client.close()

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
    agent = DeliveryAgent(runtime, Limits())
    runtime.agent("delivery", [Topic.DELIVERIES], agent.handle, confirm=False)
    runtime.on_draining(agent.before_rebalance)
    runtime.on_revoked(agent.revoked)
    runtime.on_assigned(agent.assigned)
    runtime.on_stopping(agent.stop)


def _observe(outcome: Outcome) -> None:
    metrics.ATTEMPTS.labels(outcome.error_code or outcome.status).inc()
    metrics.ATTEMPT_SECONDS.observe(max(0, outcome.completed_ms - outcome.started_ms) / 1_000)
    if outcome.error_code is None and outcome.attempt == FIRST_ATTEMPT:
        metrics.FIRST_DELIVERY_SECONDS.observe(max(0, outcome.completed_ms - outcome.received_ms) / 1_000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
