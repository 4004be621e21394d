"""A Faust transport that hands over whole fetched batches: `broker="batched://host:port"`.

Faust's aiokafka driver does group membership, rebalancing and commits; fetching is fetcher.py. What this file changes:
- A Faust message is a batch of one partition, so that Faust's cost for a message (about 150 µs) is paid once a fetch.
- The runtime says what may be committed (`confirm`); acks do not count. Faust 0.15.3 acks a record whose agent raised,
  and its `_new_offset` can pass a record that is still in flight (F18, F19).
- starting_points.py decides where reading begins, from what the group has committed and kept (positions.py).
- A rebalance first lets running batches finish, then commits them, then drops the rest. Faust 0.15.3 does so only for a
  new subscription: partitions revoked for another member were still written to by batches that ran.
- A coordinator that is away, loading or moved ends nothing. aiokafka 0.14 raises for answers that it does not know,
  then waits for a `poll` that never comes here, and Faust ends the app with a commit that fails.
- assignor.py assigns partitions, and records of aborted transactions are never seen (K12).

It registers itself under the entry-point group `faust.transports` as `batched`. The private names of Faust and aiokafka
that it needs are listed in processors/runtime/__init__.py.
"""

import asyncio
import copy
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import (
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaError,
)
from aiokafka.protocol.group import JoinGroupRequest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from operations.logs import event
from processors.runtime.assignor import CopartitionAssignor
from processors.runtime.batches import Batch, BatchMessage
from processors.runtime.commits import commit_offsets, committed_offsets
from processors.runtime.confirmed_offsets import ConfirmedOffsets
from processors.runtime.errors import StartRefused
from processors.runtime.fetcher import Fetcher
from processors.runtime.lease import Lease
from processors.runtime.positions import Positions
from processors.runtime.starting_points import StartingPoint
from processors.runtime.unconfirmed import UnconfirmedBatches

log = logging.getLogger(__name__)
FINISH_SECONDS_MAX = 8.0
DRAINING_SECONDS = 0.05
NEVER_POLLED_MS = 2**31 - 1
HELD_BACK_SECONDS = 1.0
KEEP_OFFSETS_SECONDS = 3_600.0
ANSWER_SECONDS = 5.0
FIRST_HEARTBEATS, FIRST_HEARTBEATS_APART_SECONDS = 5, 0.2
UNKNOWN_MEMBER = JoinGroupRequest.UNKNOWN_MEMBER_ID
REFUSED_WAIT_SECONDS = 1.0
REFUSED_FOR_GOOD = (InvalidSessionTimeoutError, InconsistentGroupProtocolError, InvalidGroupIdError)


class Beginning(NamedTuple):
    """Where to read partitions from (`offsets`; None: from the start), which of them the group has committed just there
    (`committed`), and why (`starts`).
    """

    offsets: dict[TP, int | None]
    committed: dict[TP, int]
    starts: dict[TP, StartingPoint]


class MembershipThread(driver.AIOKafkaConsumerThread):
    """aiokafka in its own thread: joins the group, heartbeats, commits; it never fetches."""

    _coordinator: Any = None

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._partition_assignment_strategy = [CopartitionAssignor]
        # aiokafka is never polled; the watchdog looks for progress instead
        consumer._max_poll_interval_ms = NEVER_POLLED_MS
        # a join is answered when all members have come, or the time for it is over; nothing else takes as long
        longest_seconds = max(self.app.conf.broker_session_timeout, self.app.conf.broker_rebalance_timeout)
        consumer._client._request_timeout_ms = int((longest_seconds + ANSWER_SECONDS) * 1000)
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        self._coordinator = self._ensure_consumer()._coordinator
        self._beat = self._coordinator._do_heartbeat
        self._coordinator._do_heartbeat = self._timed_heartbeat
        self._coordinator._push_error_to_user = self._go_on_after
        self._coordinator_dead = self._coordinator.coordinator_dead
        self._coordinator.coordinator_dead = self._note_coordinator_away

    def rejoin(self) -> None:
        """From the event loop's thread: joins the group again, as soon as it has a coordinator."""
        self.thread_loop.call_soon_threadsafe(self._coordinator.request_rejoin)

    def failure(self) -> Exception | None:
        """What ended aiokafka's coordination for good."""
        task = self._coordinator._coordination_task
        return cast(Exception, task.exception()) if task.done() and not task.cancelled() else None

    def has_coordinator(self) -> bool:
        """True also before it has started: a coordinator that was not looked for is not away."""
        return self._coordinator is None or self._coordinator.coordinator_id is not None

    def _note_coordinator_away(self) -> None:
        cast(Consumer, self.consumer).coordinator_lost_at = time.monotonic()
        self._coordinator_dead()

    async def _go_on_after(self, error: Exception) -> None:
        """aiokafka would wait here for a `poll` that raises the error. What passes with time is asked again, from the
        start.
        """
        event(log, "group.refused", logging.WARNING, error=repr(error))
        if isinstance(error, REFUSED_FOR_GOOD):
            cast(Consumer, self.consumer).refused = copy.copy(error)
        coordinator = self._coordinator
        for name in ("_heartbeat_task", "_commit_refresh_task"):  # one that has failed is asked about again and again
            task = getattr(coordinator, name)
            if task is not None and task.done():
                setattr(coordinator, name, None)
                coordinator.request_rejoin()
        await asyncio.sleep(REFUSED_WAIT_SECONDS)

    async def _timed_heartbeat(self) -> bool:
        """Sends no heartbeat, and returns False, while the event loop is blocked: a worker that decides nothing must
        not keep its partitions.
        """
        lease, sent_at = cast(Consumer, self.consumer).lease, time.monotonic()
        if lease.loop_is_blocked(sent_at):
            event(log, "heartbeat.held_back", logging.ERROR, why="the event loop does not run")
            await asyncio.sleep(HELD_BACK_SECONDS)
            return False
        try:
            async with asyncio.timeout(lease.heartbeat_patience_seconds):
                answered = await self._beat()
        except KafkaError as error:  # aiokafka would end its heartbeats, and with them all that it does
            event(log, "heartbeat.failed", logging.WARNING, error=repr(error))
            return False
        except TimeoutError:  # a broker that is there and gives no answer: another may coordinate by now
            self._coordinator.coordinator_dead()
            return False
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError  # swallowed by a wait_for (CPython before 3.12): aiokafka waits for our end
        if answered:
            lease.renew(sent_at)
        elif self._coordinator.member_id == UNKNOWN_MEMBER:
            lease.expire()
        return bool(answered)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """The lease begins with the assignment, not a heartbeat later."""
        cast(Consumer, self.consumer).lease.begin(time.monotonic())
        for _ in range(FIRST_HEARTBEATS):
            if await self._timed_heartbeat():
                break
            await asyncio.sleep(FIRST_HEARTBEATS_APART_SECONDS)
        await super().on_partitions_assigned(assigned, generation_id)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust looks for aiokafka's fetches here; there are none."""

    async def committed_offsets(self, tps: set[TP]) -> dict[TP, int | None]:
        found: dict[TP, int | None] = await self.call_thread(self._committed_offsets, tps)
        return found

    async def _committed_offsets(self, tps: set[TP]) -> dict[TP, int | None]:
        consumer = self._ensure_consumer()
        consumer.pause(*consumer.assignment())  # before aiokafka's own fetcher gets to them
        return await committed_offsets(self._coordinator, tps)

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> set[TP]:
        """See commits.py."""
        committed: set[TP] = await self.call_thread(self._commit_offsets, offsets)
        return committed

    async def _commit_offsets(self, offsets: Mapping[TP, int]) -> set[TP]:
        """Only those of partitions that this member has now: an assignment that was given up may have left others."""
        numbers = {tp.partition for tp in self.assignment()}
        return await commit_offsets(
            self._coordinator, {tp: offset for tp, offset in offsets.items() if tp.partition in numbers}
        )


class Consumer(driver.Consumer):
    """Faust's consumer over batches. The runtime sets `positions`, `fail` and the callbacks before it starts, reads
    `fetcher`, and calls `confirm` and `release`.
    """

    positions: Positions
    fail: Callable[[Exception], None]
    fetcher: Fetcher | None = None
    on_draining: Callable[[], Awaitable[None]] | None = None
    start_from: Callable[[set[TP]], Awaitable[Mapping[TP, int | None]]] | None = None
    at_once_bytes: int | None = None
    followed: Callable[[set[int]], Awaitable[set[TP]]] | None = None
    """The partitions of topics outside the subscription that have these partition numbers (following.py)."""
    rebalancing_since: float | None = None
    """By the monotonic clock: since when this member waits for the end of a rebalance; None while it does not."""
    coordinator_lost_at = float("-inf")
    """When the group's coordinator was last known to be away (monotonic)."""
    refused: Exception | None = None
    """Why the broker will never take this member with its present settings."""
    on_unfinished: Callable[[str], None] | None = None
    """Called when batches still run as their partitions are revoked: nothing of them may leave any more."""

    def _new_consumer_thread(self) -> MembershipThread:
        return MembershipThread(self, loop=self.loop, beacon=self.beacon)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lease = Lease(self.app.conf.broker_session_timeout)
        self.unconfirmed = UnconfirmedBatches()
        self._offsets = ConfirmedOffsets()
        self._beside: set[TP] = set()

    async def on_start(self) -> None:
        await super().on_start()
        self._offsets.clear()
        self._kept_at = time.monotonic()
        self._draining = self._seek_due = False
        self._drained = 0
        self.rebalancing_since = time.monotonic()
        self.fetcher = Fetcher(cast(Any, self.app).cluster, self.app.conf.id, self.at_once_bytes)

    async def on_stop(self) -> None:
        await super().on_stop()
        if self.fetcher is not None:
            await self.fetcher.stop()

    def confirm(self, tp: TP, next_offset: int) -> None:
        """Everything of `tp` below `next_offset` is finished: it is committed with the next commit."""
        self._offsets.confirm(tp, next_offset)

    @property
    def membership(self) -> MembershipThread:
        return cast(MembershipThread, self._thread)

    def assignment(self) -> set[TP]:
        """What the group assigned, and what is read outside the subscription."""
        given = super().assignment()
        return given | self._beside if given else given

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._seek_due = False
        if self.fetcher is not None:
            await self.commit_and_end_transactions()
        await super().on_partitions_revoked(revoked | self._beside)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._beside = set() if self.followed is None else await self.followed({tp.partition for tp in assigned})
        self._seek_due = True
        self.rebalancing_since = time.monotonic()  # however long the group gave no answer before
        await super().on_partitions_assigned(assigned | self._beside, generation_id)

    def start_over(self) -> None:
        """Fetches nothing more, drops the batches that run, and joins the group again. What was confirmed before is
        committed, if the group still takes it.
        """
        assert self.fetcher is not None
        self._draining, self._seek_due = True, False
        self._drained += 1
        self.rebalancing_since = time.monotonic()  # it has not waited for this answer yet
        self.fetcher.unassign()
        self.membership.rejoin()

    def coordinator_away_at(self, now: float) -> float:
        """When the group's coordinator was last known to be away (monotonic): `now`, while there is none. Ask again and
        again: what the member finds by itself is when it loses one, not when it finds the next.
        """
        if self._thread is not None and not self.membership.has_coordinator():
            self.coordinator_lost_at = now
        return self.coordinator_lost_at

    def failure(self) -> Exception | None:
        """What keeps it from ever being a member again."""
        return self.refused or self.membership.failure()

    async def perform_seek(self) -> None:
        """After a rebalance: fetch what was assigned, and nothing else. Where reading can't begin the process ends;
        where the partitions were taken away meanwhile, nothing is fetched. Faust calls it in the middle of a rebalance
        as well, where what is about to be revoked would be fetched.
        """
        assert self.fetcher is not None
        if not self._seek_due:
            return
        drained = self._drained
        self.positions.forget()
        self.positions.doubt_leaders()
        try:
            beginning = await self.beginning_of(self.assignment())
        except StartRefused as refused:
            self.fail(refused)
            return
        if self._drained != drained or not self._seek_due:
            return
        self._forget_offsets()
        self._note_beginning(beginning)
        self._draining = self._seek_due = False
        self.fetcher.assign(beginning.offsets)
        self.end_rebalance()

    async def beginning_of(self, tps: set[TP]) -> Beginning:
        """As starting_points.py decides. Nothing is noted yet: the partitions may be taken away while brokers are
        asked. Raises StartRefused.
        """
        committed = await self.membership.committed_offsets(tps)
        known = committed if self.start_from is None else dict(await self.start_from(set(tps)))
        starts = await (self.positions.starts(known) if self.start_from is None else self.positions.starts_at(known))
        offsets = {tp: starts[tp].offset if tp in starts else known.get(tp) for tp in committed}
        just_there = {tp: at for tp, at in committed.items() if at is not None and at == offsets[tp]}
        return Beginning(offsets, just_there, starts)

    def _note_beginning(self, beginning: Beginning) -> None:
        """Where nothing is committed at the start offset, that offset is committed next: so Kafka's own tools see the
        lag.
        """
        offsets = beginning.offsets.items()
        to_commit = {tp: at for tp, at in offsets if at is not None and tp not in beginning.committed}
        self._offsets.begin(beginning.committed, to_commit)
        if self.start_from is None:
            self.positions.note_starts(beginning.starts)

    async def read_beside(self, wanted: set[TP]) -> bool:
        """Reads exactly these partitions of topics outside the subscription, and goes on with all others. False: not
        now, since a rebalance is under way, which asks for them itself.
        """
        if self.fetcher is None or self.rebalancing_since is not None:
            return False
        self._stop_reading(self._beside - wanted)
        new = wanted - self._beside
        if new:
            epoch = self.fetcher.epoch
            try:
                beginning = await self.beginning_of(new)
            except StartRefused as refused:
                self.fail(refused)
                return False
            if self.fetcher.epoch != epoch or self.rebalancing_since is not None:
                return False
            self._beside = self._beside | new
            self._note_beginning(beginning)
            self.resume_partitions(new)
            self.fetcher.add(beginning.offsets)
        return True

    def owned_numbers(self) -> set[int]:
        """The partition numbers that the group gave."""
        return {tp.partition for tp in super().assignment()}

    def stop_reading(self, topics: Iterable[str]) -> None:
        """Topics outside the subscription."""
        if self.fetcher is not None:
            self._stop_reading({tp for tp in self._beside if tp.topic in set(topics)})

    def _stop_reading(self, tps: set[TP]) -> None:
        assert self.fetcher is not None
        self._beside = self._beside - tps
        self.fetcher.remove(tps)
        self.positions.forget(tps)
        self._offsets.forget(tps)
        for tp in tps:
            self._read_offset.pop(tp, None)

    def end_rebalance(self) -> None:
        """What the group assigned is known, and fetched."""
        self.rebalancing_since = None

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[BatchMessage]]:
        assert self.fetcher is not None
        if self._draining:
            await asyncio.sleep(min(timeout, DRAINING_SECONDS))
            return {}
        batches = await self.fetcher.batches(active_partitions, timeout)
        return {tp: [BatchMessage(batch)] for tp, batch in batches.items()}

    def release(self, batch: Batch) -> None:
        if self.fetcher is not None:
            self.fetcher.release(batch)

    async def commit_and_end_transactions(self) -> None:
        """Faust calls it when partitions are revoked and when it stops: lets running batches finish, then commits. No
        batch is handed out from here until the next assignment.
        """
        assert self.fetcher is not None
        self._draining = True
        self._drained += 1
        self.rebalancing_since = self.rebalancing_since or time.monotonic()
        if self.on_draining is not None:
            await self.on_draining()
        deadline = self.loop.time() + FINISH_SECONDS_MAX
        while self._unfinished() and self.loop.time() < deadline:  # noqa: ASYNC110 — bounded, and rare
            await asyncio.sleep(0.005)
        if self._unfinished():
            event(log, "rebalance.unfinished", logging.WARNING, batches=self._unfinished())
            if self.on_unfinished is not None and not self.should_stop:
                self.on_unfinished(f"{self._unfinished()} batches did not finish before their partitions had to go")
        await self.maybe_wait_for_commit_to_finish()  # one that runs already has older offsets, and Faust adds none
        await super().commit_and_end_transactions()
        await self.positions.keep_last()
        self._forget_offsets()
        self.fetcher.unassign()

    def _forget_offsets(self) -> None:
        """They may be another member's to move from here on."""
        self._offsets.clear()
        self._read_offset.clear()

    def _unfinished(self) -> int:
        return len(self.unconfirmed) + (0 if self.fetcher is None else self.fetcher.in_flight())

    def ack(self, message: Any) -> bool:
        """Faust's acks decide nothing here; see `confirm`."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Faust calls it every half second and before partitions are given up, one call at a time.

        Now and then it commits again what is committed of partitions outside the subscription: a week after their
        commit a broker forgets offsets of topics that the group has not subscribed to, though the group lives, and a
        stream may be silent for longer.
        """
        now = time.monotonic()
        keeping = now - self._kept_at > KEEP_OFFSETS_SECONDS
        due = self._offsets.due(again=self._beside if keeping else set())
        taken = await self.membership.commit_offsets(due) if due else set()
        committed = self._offsets.note_committed({tp: due[tp] for tp in taken})
        if self.start_from is None and self.fetcher is not None:
            for tp in committed & self.fetcher.assigned():
                self.positions.note(tp, due[tp])
        self._kept_at = now if keeping else self._kept_at
        return bool(committed)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Offsets that no record has (compaction, transaction markers) need no bookkeeping: `confirm` names the
        next one.
        """

    def highwater(self, tp: TP) -> int:
        return 0

    async def verify_all_partitions_active(self) -> None:
        """Faust looks for aiokafka's fetches here too; there are none."""


class Transport(driver.Transport):
    Consumer: ClassVar[type] = Consumer
