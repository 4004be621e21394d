"""Attempts: starts deliveries as the endpoint queues allow, and hands each result to the recorder.

An endpoint's slot is free again before the outcome of its attempt is confirmed.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from domain.delivery.decide import (
    Answered,
    Attempt,
    AttemptResult,
    TopicWritten,
    disable_command,
    outcome_of,
    speaks_against_endpoint,
)
from domain.delivery.endpoint_gates import EndpointGates
from domain.delivery.endpoint_queues import EndpointQueues
from domain.delivery.retry_schedule import EndpointClass, RetrySchedule
from domain.delivery.states import DeliveryInput
from domain.events.status import RouteState
from operations import clock
from operations.logs import Sparse
from processors.delivery import metrics
from processors.delivery.due_loader import DueLoader
from processors.delivery.limits import Limits
from processors.delivery.loaded import LoadedDelivery
from processors.delivery.recorder import AttemptEnded, Recorder
from processors.delivery.routes import RouteUnknown
from processors.delivery.sender import Sender, SentAttempt
from processors.delivery.tasks import VitalTasks
from schemas.records import Outcome

sparse = Sparse(logging.getLogger(__name__))
STARTS_AT_ONCE = 8
WATCH_SECONDS = 0.25
UNKNOWN_ROUTE_MS = 1_000


def queues_of(gates: EndpointGates, limits: Limits) -> EndpointQueues[LoadedDelivery]:
    """Queues that ask the gates how many attempts of an endpoint may run."""
    return EndpointQueues(
        limits.running_max,
        lambda endpoint_id: gates.running_max(endpoint_id, clock.now_ms()),
        not_quick_running_max=limits.not_quick_running_max,
        unknown_running_max=limits.unknown_running_max,
    )


class Attempts:
    """`start` starts what may start now. `go_on_starting` and `watch` run as tasks."""

    def __init__(
        self,
        queues: EndpointQueues[LoadedDelivery],
        gates: EndpointGates,
        sender: Sender,
        recorder: Recorder,
        loader: DueLoader,
        tasks: VitalTasks,
        schedules: Mapping[EndpointClass, RetrySchedule],
        limits: Limits,
    ) -> None:
        self._queues = queues
        self._gates = gates
        self._sender = sender
        self._recorder = recorder
        self._loader = loader
        self._tasks = tasks
        self._schedules = schedules
        self._limits = limits
        self._running: dict[asyncio.Task[None], tuple[str, float]] = {}
        """With their endpoint ids, and when they began (monotonic)."""
        self._more_may_start = asyncio.Event()

    def __len__(self) -> int:
        return len(self._running)

    def start(self) -> None:
        """A few attempts, then other work has the loop: many that begin together would hold up what comes in."""
        for _ in range(STARTS_AT_ONCE):
            taken = self._queues.take()
            if taken is None:
                return
            delivery = taken[1]
            endpoint_id = delivery.endpoint_id
            if delivery.partition.revoked:
                self._queues.done(endpoint_id)
                self._loader.release(delivery)
                continue
            delivery.receive(DeliveryInput.START)
            begun = self._gates.of(endpoint_id).breaker.start()
            task = self._tasks.start(self._attempt(delivery, begun))
            self._running[task] = endpoint_id, time.monotonic()
            task.add_done_callback(self._running.pop)
        self._more_may_start.set()

    async def go_on_starting(self) -> None:
        while True:
            await self._more_may_start.wait()
            await asyncio.sleep(0)
            self._more_may_start.clear()
            self.start()

    async def watch(self) -> None:
        """Finds slow endpoints before their attempts have ended, when many attempts run."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self._queues.running * 2 > self._limits.not_quick_running_max:
                self._mark_slow(time.monotonic() - self._limits.slow_seconds)
                self.start()

    async def ended(self) -> None:
        """Returns when all attempts that run now have ended."""
        if self._running:
            await asyncio.wait(self._running)

    def cancel(self) -> None:
        for task in self._running:
            task.cancel()

    def _mark_slow(self, begun_before: float) -> None:
        for endpoint_id, began in self._running.values():
            if began < begun_before:
                self._queues.mark(endpoint_id, quick=False)

    async def _attempt(self, delivery: LoadedDelivery, begun: int) -> None:
        gate = self._gates.of(delivery.endpoint_id)
        started_ms, began = clock.now_ms(), time.monotonic()
        opened = False
        try:
            sent = await self._sender.send(delivery, started_ms)
            answered = not speaks_against_endpoint(sent.result)
            opened = gate.breaker.end(begun, answered=answered, now_ms=clock.now_ms())
            self._note_pace(delivery.endpoint_id, sent.result, time.monotonic() - began)
        except RouteUnknown:
            sparse.event("route.unknown", "unknown", logging.WARNING, why="control can't be read to its end")
            self._loader.postpone(delivery, clock.now_ms() + UNKNOWN_ROUTE_MS)
            return
        except asyncio.CancelledError:
            self._loader.release(delivery)
            raise
        finally:
            self._queues.done(delivery.endpoint_id)
            self._more_may_start.set()
        is_disabled = self._record(delivery, sent, started_ms)
        if opened or is_disabled:
            self._loader.withdraw(delivery.endpoint_id)
        self.start()

    def _record(self, delivery: LoadedDelivery, sent: SentAttempt, started_ms: int) -> bool:
        """Hands the outcome to the recorder. Returns whether the attempt disabled its endpoint."""
        route = sent.route
        first_ms = delivery.first_ms or started_ms
        name = delivery.delivery.workflow_id if route is None else route.workflow.name
        attempt = Attempt(delivery.attempt, name, first_ms, started_ms, clock.now_ms(), sent.result)
        schedule = self._schedules[EndpointClass.EVENTS if route is None else route.kind]
        outcome = outcome_of(delivery.delivery, attempt, schedule)
        command = None
        if outcome.status == RouteState.DISABLED and route is not None:
            self._gates.of(delivery.endpoint_id).answered_410 = route.workflow
            command = disable_command(delivery.delivery, route.workflow, outcome)
        _observe(outcome, delivery)
        delivery.receive(DeliveryInput.FINISH)
        self._recorder.add(AttemptEnded(delivery, outcome, first_ms, command))
        return command is not None

    def _note_pace(self, endpoint_id: str, result: AttemptResult, seconds: float) -> None:
        """An attempt that fails at once does not show how long an answer takes."""
        if seconds > self._limits.slow_seconds:
            self._queues.mark(endpoint_id, quick=False)
        elif isinstance(result, Answered | TopicWritten):
            self._queues.mark(endpoint_id, quick=True)


def _observe(outcome: Outcome, delivery: LoadedDelivery) -> None:
    metrics.ATTEMPTS.labels(outcome.error_code or outcome.status).inc()
    metrics.ATTEMPT_SECONDS.observe(max(0, outcome.completed_ms - outcome.started_ms) / 1_000)
    if outcome.error_code is None and outcome.attempt == 1 and not outcome.replay:
        metrics.FIRST_DELIVERY_SECONDS.observe(max(0, outcome.completed_ms - outcome.received_ms) / 1_000)
    if delivery.attempts and delivery.due_ms:
        metrics.RETRY_LATE_SECONDS.observe(max(0, outcome.started_ms - delivery.due_ms) / 1_000)
