"""The Faust shell of delivery: reads `deliveries`, has them attempted, and commits what is finished.

A delivery from the log is attempted at once if its endpoint has a free slot. Otherwise it goes into the retry table,
where it waits for a slot, for the time of its next attempt, for others of its ordering key, or for its endpoint to be
reactivated. So a slow endpoint does not stop the reading, and memory holds a few deliveries of each endpoint.

Offsets are committed up to the lowest delivery that the log still keeps (domain/delivery/states.py). After a process
died, its running attempts are made again: at least once, with the same delivery id, number and body.
"""

import asyncio
import logging
from collections.abc import Sequence

from faust.types import TP

from domain.delivery.circuit_breaker import BreakerLimits
from domain.delivery.endpoint_gates import EndpointGates
from domain.delivery.retry_table import STAMP
from domain.delivery.states import DeliveryInput, Keeper
from operations.logs import event
from processors.delivery import metrics
from processors.delivery.attempts import Attempts, queues_of
from processors.delivery.due_loader import DueLoader
from processors.delivery.limits import Limits
from processors.delivery.loaded import AssignedPartition, LoadedDelivery, read_delivery
from processors.delivery.recorder import TABLE, RecordedItem, Recorder, ToStore
from processors.delivery.sender import Sender
from processors.delivery.tasks import VitalTasks
from processors.runtime.agent import Agent, AgentRuntime, AgentSpec, Batch
from schemas.log_records import LogRecord
from schemas.topics import Topic

log = logging.getLogger(__name__)
RECORDS_AT_ONCE = 64  # read before attempts get the loop
STOP_MARGIN_SECONDS = 1.0
REVOKED_WAIT_SECONDS = 3.0


class DeliveryAgent(Agent):
    """Make it on the running loop; nothing runs before `begin`."""

    def __init__(self, runtime: AgentRuntime, limits: Limits) -> None:
        self._runtime = runtime
        self._limits = limits
        self._tasks = VitalTasks(runtime)
        self._gates = EndpointGates(runtime.control.view, BreakerLimits(budget=limits.endpoint_running_max))
        self._queues = queues_of(self._gates, limits)
        self._sender = Sender(runtime.settings, runtime.control)
        self._recorder = Recorder(runtime, self._recorded)
        self._loader = DueLoader(self._queues, self._gates, self._recorder, limits, self._start_attempts)
        self._attempts = Attempts(
            self._queues,
            self._gates,
            self._sender,
            self._recorder,
            self._loader,
            self._tasks,
            runtime.settings.retry_schedules,
            limits,
        )
        self._partitions: dict[TP, AssignedPartition] = {}
        self._draining = False
        self._loops: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Starts what runs for as long as the process lives."""
        loops = (self._recorder.run(), self._loader.run(), self._attempts.watch(), self._attempts.go_on_starting())
        self._loops = [self._tasks.start(loop) for loop in loops]
        self._runtime.control.view.on_change(self._loader.workflow_changed)
        metrics.RUNNING.set_function(lambda: self._queues.running)
        metrics.WAITING.set_function(lambda: self._queues.waiting)
        metrics.OPEN_CIRCUITS.set_function(self._gates.open_circuits)

    # From the log into the queues

    async def handle(self, batch: Batch) -> None:
        """Returns when every delivery of the batch runs, waits or is on its way to the table, or when the partition is
        not ours any more.
        """
        partition = self._partition_of(batch)
        await partition.opened.wait()
        # All are opened before the first is taken in, so that those left out below hold back what may be committed.
        records = [record for record in batch.records if partition.tracker.open(record.offset)]
        unreadable: list[tuple[LogRecord, Exception]] = []
        for number, record in enumerate(records, start=1):
            await self._capacity(partition)
            if self._draining or partition.revoked:
                return
            try:
                delivery = read_delivery(partition, record, self._gates.is_ordered)
            except Exception as error:  # of any kind: an unreadable record never stops its neighbours
                unreadable.append((record, error))
            else:
                self._take_in(delivery)
            if number % RECORDS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if unreadable:
            await self._set_aside(batch, partition, unreadable)

    async def _capacity(self, partition: AssignedPartition) -> None:
        """Returns when the partition may have one more delivery in memory. Quick endpoints free memory themselves.
        If that takes long, the queues of slow endpoints go into the table; without slow ones, the longest queue.
        """
        if partition.has_capacity(self._limits):
            return
        metrics.BACKPRESSURE.inc()
        while not (partition.has_capacity(self._limits) or self._draining or partition.revoked):
            partition.freed.clear()
            try:
                async with asyncio.timeout(self._limits.full_seconds):
                    await partition.freed.wait()
            except TimeoutError:
                for endpoint_id in self._queues.slow_waiting() or [self._queues.longest()]:
                    self._loader.withdraw(endpoint_id)

    def _take_in(self, delivery: LoadedDelivery) -> None:
        partition = delivery.partition
        if partition.knows(delivery.delivery_id):
            assert delivery.offset is not None
            self._commit(partition, partition.tracker.finish(delivery.offset))
            return
        partition.add(delivery)
        if self._may_go_now(delivery):
            delivery.receive(DeliveryInput.QUEUE)
            self._queues.add(delivery.endpoint_id, delivery)
            self._start_attempts()
        else:
            delivery.receive(DeliveryInput.STORE)
            self._loader.store(delivery)

    def _may_go_now(self, delivery: LoadedDelivery) -> bool:
        """It goes behind the deliveries of its endpoint that wait in the table already."""
        endpoint_id = delivery.endpoint_id
        return not (
            delivery.order_key
            or self._loader.has_backlog(delivery.partition, endpoint_id)
            or self._is_slow(delivery)
            or self._gates.is_disabled(endpoint_id)
            or not self._gates.is_closed(endpoint_id)
        )

    def _is_slow(self, delivery: LoadedDelivery) -> bool:
        """Its endpoint is known to be slow and has as many in memory as it may; or it has many, and the first of them
        has waited for long.
        """
        endpoint_id = delivery.endpoint_id
        if self._queues.is_slow(endpoint_id):
            return self._queues.count(endpoint_id) >= self._loader.loaded_max(endpoint_id)
        if self._queues.count(endpoint_id) < self._limits.endpoint_loaded_max:
            return False
        first = self._queues.first_waiting(endpoint_id)
        return first is not None and delivery.read_at - first.read_at > self._limits.slow_seconds

    async def _set_aside(
        self, batch: Batch, partition: AssignedPartition, unreadable: Sequence[tuple[LogRecord, Exception]]
    ) -> None:
        """`DeliveryInput.SET_ASIDE`, for records from which no delivery can be read."""
        work = self._runtime.begin(batch)
        for record, error in unreadable:
            work.dead_letter(record, "unreadable", str(error))
        await work.commit()
        for record, _error in unreadable:
            self._commit(partition, partition.tracker.finish(record.offset))

    def _start_attempts(self) -> None:
        self._attempts.start()

    # What was recorded

    def _recorded(self, recorded: RecordedItem) -> None:
        delivery = recorded.item.delivery
        partition, endpoint_id = delivery.partition, delivery.endpoint_id
        self._runtime.note_handled(1)  # a batch that waits for capacity is not a stalled worker
        if isinstance(recorded.item, ToStore):
            partition.stored(endpoint_id)
        if recorded.received is DeliveryInput.RELEASE:
            self._loader.release(delivery)
        else:
            self._leave_memory(delivery, recorded.received)
        if not partition.revoked:
            for due in recorded.now_waiting:
                self._loader.now_waits(partition, due)
        self._loader.slot_freed(endpoint_id)
        if not self._queues.count(endpoint_id):
            self._gates.forget(endpoint_id)

    def _leave_memory(self, delivery: LoadedDelivery, received: DeliveryInput) -> None:
        partition, kept_by = delivery.partition, delivery.kept_by
        delivery.receive(received)
        if kept_by is Keeper.TABLE:
            self._loader.unloaded(delivery)
            return
        assert delivery.offset is not None, "what the log keeps has an offset"
        partition.remove(delivery, kept_by)
        self._commit(partition, partition.tracker.finish(delivery.offset))

    def _commit(self, partition: AssignedPartition, next_offset: int | None) -> None:
        if next_offset is not None:
            self._runtime.confirm(partition.tp, next_offset)

    # Assignment, stopping

    def _partition_of(self, batch: Batch) -> AssignedPartition:
        """A new assignment reads again from what was committed, so nothing known from the one before counts."""
        partition = self._partitions.get(batch.tp)
        if partition is not None and partition.epoch is None:
            partition.epoch = batch.epoch
        if partition is None or partition.epoch != batch.epoch:
            if partition is not None:
                self._revoke(partition)
            partition = self._assign(batch.tp)
            partition.epoch = batch.epoch
        return partition

    def _assign(self, tp: TP) -> AssignedPartition:
        partition = self._partitions[tp] = AssignedPartition(tp)
        self._tasks.start(self._open(partition))
        return partition

    async def _open(self, partition: AssignedPartition) -> None:
        """Opens its table, recovered, and finds when each of its endpoints is due. A rebalance does not wait for this:
        if the table is closed meanwhile, the partition was revoked.
        """
        try:
            await self._open_table(partition)
        except Exception:
            if not partition.revoked:
                raise

    async def _open_table(self, partition: AssignedPartition) -> None:
        number = partition.tp.partition
        await self._runtime.control.caught_up()
        if not await self._runtime.open_tables(number) or partition.revoked:
            if partition.tp not in self._partitions:
                self._runtime.close_tables(number)
            return
        partition.table = self._runtime.committed(number, TABLE)
        if partition.table.get(STAMP) is None:
            work = self._runtime.begin_at(number)
            work.table(TABLE).put(STAMP, b"")
            await work.commit()
        if not partition.revoked:
            self._loader.open(partition)
        partition.opened.set()

    def _revoke(self, partition: AssignedPartition) -> None:
        partition.revoke()
        self._loader.forget(partition)

    async def _drain(self, wait_seconds: float) -> None:
        """Starts no more attempts, and gives those that run `wait_seconds` to end and be confirmed."""
        self._draining = True
        self._loader.pause()
        self._clear()
        for partition in self._partitions.values():
            partition.freed.set()
        try:
            async with asyncio.timeout(wait_seconds):
                await self._attempts.ended()
                await self._recorder.idle()
        except TimeoutError:
            event(log, "delivery.unfinished", logging.WARNING, attempts=len(self._attempts))

    def _clear(self) -> None:
        for delivery in self._queues.clear():
            self._loader.release(delivery)

    async def draining(self) -> None:
        await self._drain(self._limits.rebalance_wait_seconds)

    async def revoked(self, tps: set[TP]) -> None:
        """Running attempts go on, and acknowledgements are still recorded. Returns when nothing changes the tables any
        more. If brokers don't confirm what is on its way to them, it is given up.
        """
        for tp in tps & self._partitions.keys():
            self._revoke(self._partitions.pop(tp))
        try:
            async with asyncio.timeout(REVOKED_WAIT_SECONDS):
                await self._recorder.idle()
        except TimeoutError:
            self._runtime.give_up(f"outcomes were not confirmed within {REVOKED_WAIT_SECONDS:g} s of a rebalance")
            await self._recorder.idle()

    def given_up(self) -> None:
        """Nothing of any partition counts any more: its deliveries are read, and attempted, again."""
        self._draining = True
        self._loader.pause()
        self._clear()
        for partition in self._partitions.values():
            self._revoke(partition)
        self._partitions.clear()

    async def assigned(self, tps: set[TP]) -> None:
        await self.revoked(set(self._partitions))
        self._draining = False
        self._loader.resume()
        for tp in tps:
            if tp.topic == Topic.DELIVERIES:
                self._assign(tp)

    async def stopping(self) -> None:
        await self._drain(self._sender.timeout_seconds + STOP_MARGIN_SECONDS)
        self._attempts.cancel()
        for loop in self._loops:
            loop.cancel()
        await self._sender.close()


def build(runtime: AgentRuntime) -> None:
    agent = DeliveryAgent(runtime, Limits())
    agent.begin()
    runtime.add(agent, AgentSpec("delivery", [Topic.DELIVERIES], tables={TABLE: None}, confirms_itself=True))
