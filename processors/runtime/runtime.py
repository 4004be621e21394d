"""One process of processors: a Faust app over the batched transport, its agents, tables, outbox and readiness.

`agent` registers a handler of whole batches. Batches of one partition run one after the other, those of different
partitions as concurrent tasks; with `takes_turns`, for agents whose topics share a table, those of one partition number
run in turns whatever their topics (turns.py). What a handler must do is small: isolate each record's errors (dead
letters), produce through its `Work`, and `await work.commit()`; the runtime then confirms the batch. What no table
counts on a handler may return unconfirmed (`Told`): the partition's next batch begins, and this one is confirmed once
the broker has all of it. An exception that leaves a handler is a failure of the infrastructure: the process stops with
it, unconfirmed, and is started again. Nothing is acked because something raised.

What passes by itself ends nothing: when the group's coordinator is away past the session, or brokers take no records
for long, the process gives up its assignment (`give_up`) and joins again, as one that was just started would.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import faust
from confluent_kafka import KafkaException
from faust.types import TP

from domain.entities.control_view import ControlView
from operations.control_reader import ControlReader
from operations.logs import event
from operations.metrics import DEGRADED
from operations.operations_port import Readiness
from operations.schema_registry import SchemaRegistry
from operations.settings import Settings
from operations.topic_admin import PartitionsChanged, TopicAdmin
from processors.runtime import metrics
from processors.runtime.app import BATCH_SCHEMA, create_app
from processors.runtime.batches import Batch, joined
from processors.runtime.decided import newest_decided_ms
from processors.runtime.following import Following, more_than_before
from processors.runtime.lease import Abandoned, LeaseLost
from processors.runtime.outbox import Outbox, OutboxBatch, OutboxFailed
from processors.runtime.positions import Positions
from processors.runtime.table import TableSpec
from processors.runtime.tables import Tables
from processors.runtime.transport import Consumer
from processors.runtime.turns import Turns
from processors.runtime.work import Work

log = logging.getLogger(__name__)
Told = Sequence[OutboxBatch] | None
Handler = Callable[[Batch], Awaitable[Told]]
PartitionsCallback = Callable[[set[TP]], Awaitable[None]]


class ControlLost(Exception):
    """What this process read of `control` is not what stands there now."""


class Call(NamedTuple):
    """A handler at work; `started_seconds` by the monotonic clock."""

    agent: str
    tp: TP
    first_offset: int
    records: int
    started_seconds: float


class Runtime:
    def __init__(self, settings: Settings, group: str) -> None:
        self.settings = settings
        self.group = group
        self.app: Any = create_app(settings, group)  # Any: Faust's interfaces leave out half of what it has
        self.readiness = Readiness()
        self.control = ControlReader(settings.kafka, ControlView(), lambda reason: self.fail(ControlLost(reason)))
        self.registry: SchemaRegistry | None = None
        self.outbox = Outbox(settings.kafka)
        self.positions = Positions(settings.kafka, group, self.outbox, lambda topic: topic in self.unwatched)
        self.tables = Tables(settings.kafka, Path(settings.home) / "tables" / group, self._newest_decided_ms)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.started: list[Callable[[], Awaitable[None]]] = []
        self.stopping: list[Callable[[], Awaitable[None]]] = []
        self.on_started(self._begin_to_keep)
        self.following = Following(partial(TopicAdmin, settings.kafka), settings.partitions)
        self._topics: dict[str, list[str]] = {}
        self._revoked_callbacks: list[PartitionsCallback] = []
        self._given_up_callbacks: list[Callable[[], None]] = []
        self._assigned_callbacks: list[PartitionsCallback] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: dict[int, Call] = {}
        self._assigned_once = False
        self._given_up_because: str | None = None
        self._ready_when_begun = False
        self.handled_records = 0
        self.unwatched: set[str] = set()
        for counter in (metrics.MISSED, metrics.GIVEN_UP):
            counter.labels(group)  # shown from the start, as 0
        self.consumer.positions = self.positions
        self.consumer.fail = self.fail
        self.app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        self.app.on_partitions_assigned.connect(self._on_assigned, weak=False)
        self.app.on_rebalance_complete.connect(self._on_rebalanced, weak=False)
        self.readiness.require("membership", self._not_a_member)
        self.readiness.require("tables", self._not_recovered)
        self.readiness.require("log", self._not_caught_up)
        self.readiness.require("control", self._not_in_view)
        self.readiness.degrade("control", lambda: self.control.why_behind if self.control.is_old else None)
        DEGRADED.labels("control").set_function(lambda: float(self.control.is_old))

    # Declaring

    def agent(
        self,
        name: str,
        topics: Sequence[str],
        handle: Handler,
        *,
        confirm: bool = True,
        follows: Sequence[str] | None = None,
        takes_turns: bool = False,
        watched: bool = True,
    ) -> None:
        """`topics`: what the group subscribes to, for good. `follows`: what is read beside them (following.py), which
        `follow` and `unfollow` may change later; None where there never is anything.

        `confirm=False`: the handler's offsets are committed only as far as `confirm` says. `takes_turns`: a batch
        holds records of one partition number, but may hold those of several topics, topic after topic. `watched`
        False: the watchdog leaves its topics out, whose steady records would pass for progress of the other agents.
        """
        run_turn = partial(self._handle, name, handle, confirm)
        start = Turns(run_turn).take if takes_turns else _alone(run_turn)
        self._ready_when_begun |= not confirm  # when deliveries are through lies with their receivers
        self._topics[name] = [str(topic) for topic in topics]
        self.unwatched.update(() if watched else self._topics[name])
        channel = self.app.topic(*self._topics[name], schema=BATCH_SCHEMA)
        if follows is not None:
            self.following.add(name, follows)
            self.consumer.followed = self._followed_when_assigned
            self.on_started(self._keep_following)

        async def run(stream: Any) -> None:
            async for faust_event in stream.events():
                self._start(start(faust_event.message.value))

        run.__name__ = name
        self.app.agent(channel, name=name)(run)

    def table(self, name: str, *, retention_seconds: int | None = None) -> None:
        """A durable table, co-partitioned with the agents' topics."""
        self.tables.declare(TableSpec(name, f"{self.group}-{name}-changelog", retention_seconds))

    def on_started(self, callback: Callable[[], Awaitable[None]]) -> None:
        self.started.append(callback)

    def on_stopping(self, callback: Callable[[], Awaitable[None]]) -> None:
        self.stopping.append(callback)

    def on_draining(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Called before the last commit ahead of a rebalance or the end: what runs beside batches may finish and
        be confirmed.
        """
        self.consumer.on_draining = callback

    def on_assigned(self, callback: PartitionsCallback) -> None:
        self._assigned_callbacks.append(callback)

    def on_revoked(self, callback: PartitionsCallback) -> None:
        """Called in a rebalance, after running batches had their chance to finish; nothing of these partitions
        counts any more.
        """
        self._revoked_callbacks.append(callback)

    def on_given_up(self, callback: Callable[[], None]) -> None:
        """Called when the whole assignment is given up, before its tables are closed: what batches left in memory
        counts no more, and nothing may be begun until partitions are assigned again.
        """
        self._given_up_callbacks.append(callback)

    def start_from(self, positions: Callable[[set[TP]], Awaitable[Mapping[TP, int | None]]]) -> None:
        """Reads assigned partitions from these offsets (None: from the start), whatever the group committed: for
        agents that keep their positions where their results stand.
        """
        self.consumer.start_from = positions

    def read_side_by_side(self, at_once_bytes: int) -> None:
        """Of each partition about this much is fetched at once, so that what was written at a time is read at a time:
        for agents that put together what stands on several topics.
        """
        self.consumer.at_once_bytes = at_once_bytes

    # Running

    @property
    def consumer(self) -> Consumer:
        return cast(Consumer, self.app.consumer)

    def begin(self, batch: Batch, *, eager: bool = False, prompt: bool = False) -> Work:
        """`eager`, `prompt`: see `Outbox.batch`."""
        return self.begin_at(batch.tp.partition, eager=eager, prompt=prompt)

    def begin_at(self, partition: int, *, eager: bool = False, prompt: bool = False) -> Work:
        """A unit of work beside batches. At any time at most one of a partition may change tables: a later one that is
        confirmed first would move the table's position past the earlier one's changes. Raises Abandoned.
        """
        out = self.outbox.batch(eager=eager, prompt=prompt)
        return Work(self.group, out, self.tables.views(partition), partition, self.consumer.lease)

    def confirm(self, tp: TP, next_offset: int) -> None:
        if self.owned(tp):
            self.consumer.confirm(tp, next_offset)

    def owned(self, tp: TP) -> bool:
        fetcher = self.consumer.fetcher
        return fetcher is not None and tp in fetcher.assigned()

    def _not_caught_up(self) -> str | None:
        """Ready means: read to the end as it was when the partitions came, not merely a member of the group."""
        fetcher = self.consumer.fetcher if self._assigned_once else None
        if fetcher is None:
            return "nothing is read yet"
        missing = fetcher.unbegun() if self._ready_when_begun else fetcher.unread()
        if not missing:
            return None
        records = sum(count for tp, count in fetcher.lag().items() if tp in missing)
        return f"{len(missing)} of {len(fetcher.assigned())} partitions to be read to their ends, {records} records"

    def _not_in_view(self) -> str | None:
        if self.control.failed is not None:
            return self.control.failed
        return None if self.control.ready else "control is not read to its end yet"

    def _not_recovered(self) -> str | None:
        unopened = self.tables.unopened()
        return f"the tables of {unopened} partitions are being recovered" if unopened else None

    def longest_call(self) -> "Call | None":
        """The call of a handler that runs for the longest time now; of those whose end is a batch's end."""
        return min(self._calls.values(), key=lambda call: call.started_seconds, default=None)

    def fail(self, error: BaseException) -> None:
        """Stops the process with this error; the supervisor starts it again. What belongs to an assignment that was
        given up is over, and what passes without that gives up the assignment.
        """
        if isinstance(error, Abandoned):
            return
        if self._passes(error):
            self.give_up(str(error))
        elif not self.failed.done():
            self.failed.set_exception(error)

    def _passes(self, error: BaseException) -> bool:
        """A lapse that was noticed in time, by a worker that ran all the while; and brokers that were away."""
        if isinstance(error, LeaseLost):
            return not self.consumer.lease.was_frozen(time.monotonic())
        return isinstance(error, OutboxFailed) and error.passes

    def give_up(self, why: str) -> None:
        """Nothing of this assignment leaves any more, whatever was decided; the process joins the group anew and
        recovers what it is given, as a new owner. Doing it again meanwhile does nothing.
        """
        if self.outbox.is_closed or self.failed.done():
            return
        event(log, "assignment.given_up", logging.WARNING, group=self.group, why=why)
        metrics.GIVEN_UP.labels(self.group).inc()
        self._assigned_once, self._given_up_because = False, why
        self.consumer.lease.give_up()
        self.outbox.give_up()
        self.positions.forget()
        for callback in self._given_up_callbacks:
            callback()
        self.tables.lose_all()
        self.consumer.start_over()

    def _not_a_member(self) -> str | None:
        if self._assigned_once:
            return None
        if self._given_up_because is None:
            return "no partitions assigned yet"
        return f"the assignment was given up, and the group has not answered since: {self._given_up_because}"

    def follow(self, agent: str, topics: Sequence[str]) -> None:
        """Adds topics to a running agent (a stream was created)."""
        self.following.add(agent, topics)

    def unfollow(self, topics: Sequence[str]) -> None:
        """At once, since a topic of the same name may come as another one."""
        self.following.discard(topics)
        self.consumer.stop_reading(topics)

    def _newest_decided_ms(self, partition: int) -> int | None:
        subscribed = {topic for topics in self._topics.values() for topic in topics}
        topics = sorted(subscribed.union(self.following.topics))
        kept = self.positions.known(topics, partition)
        return newest_decided_ms(self.settings.kafka, self.group, topics, partition, kept)

    async def _followed_of(self, numbers: set[int]) -> set[TP]:
        """What goes with these partition numbers, ready to be handed to its agents."""
        followed = {TP(*each) for each in await self.following.partitions_of(numbers)}
        conductor = self.app.topics
        for tp in followed:
            subscribed = self._topics[self.following.agent_of(tp.topic)][0]
            conductor._tp_to_callback[tp] = conductor._build_handler(tp, conductor._topic_name_index[subscribed])
        return followed

    async def _followed_when_assigned(self, numbers: set[int]) -> set[TP]:
        try:
            return await self._followed_of(numbers)
        except PartitionsChanged as error:
            self.fail(error)
        except KafkaException as error:
            event(log, "following.delayed", logging.WARNING, error=error.args[0].str())
            self.following.look_again()
        return set()

    async def _keep_following(self) -> None:
        async def read() -> bool:
            consumer = self.consumer
            return await consumer.read_beside(await self._followed_of(consumer.owned_numbers()))

        self._start(self._following_until_it_fails(read))

    async def _following_until_it_fails(self, read: Callable[[], Awaitable[bool]]) -> None:
        try:
            await self.following.keep(read)
        except Exception as error:
            event(log, "following.failed", logging.ERROR, error=repr(error))
            self.fail(error)

    def _start(self, handling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(handling)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, name: str, handle: Handler, confirm: bool, batches: list[Batch]) -> None:
        """One call of the handler for these batches of one partition number; none for those that a rebalance took
        away, nor after a failure, since what failed is missing in the table.
        """
        started = asyncio.get_running_loop().time()
        mine = [batch for batch in batches if self._owns(batch)]
        if not mine or self.failed.done():
            return
        place = name, mine[0].tp.partition
        try:
            await self.control.caught_up()
            await self.tables.open(mine[0].tp.partition)
            mine = [batch for batch in mine if self._owns(batch)]
            if not mine:
                return
            with self._noted(name, mine) if confirm else nullcontext():
                told = await handle(joined(mine))
                await self.consumer.telling.over(place)
        except Exception as error:
            self._failed(name, mine, error)
            return
        finish = partial(self._finished, mine, confirm)
        if not told:
            finish()
        else:
            confirmed = self._confirmed(name, mine, told)
            self.consumer.telling.begin(place, confirmed, finish, partial(self._failed, name, mine))
        for batch in mine:
            self._release(batch)
        records = sum(len(batch) for batch in mine)
        self.handled_records += 0 if mine[0].tp.topic in self.unwatched else records
        metrics.RECORDS.labels(name).inc(records)
        metrics.BATCH_RECORDS.labels(name).observe(records)
        metrics.BATCH_SECONDS.labels(name).observe(asyncio.get_running_loop().time() - started)

    async def _confirmed(self, name: str, batches: list[Batch], told: Sequence[OutboxBatch]) -> None:
        with self._noted(name, batches):
            for out in told:
                await out.confirmed()

    def _failed(self, name: str, batches: list[Batch], error: Exception) -> None:
        """Batches that are not this worker's any more are read again by whoever has them: their tables may have been
        closed, and their records dropped, while the handler ran.
        """
        first = batches[0]
        where = {"agent": name, "topic": first.tp.topic, "offset": first.first_offset}
        if not any(self._owns(batch) for batch in batches):
            event(log, "batch.abandoned", logging.WARNING, **where, why=repr(error))
        else:
            event(log, "agent.failed", logging.ERROR, **where)
            self.fail(error)

    @contextmanager
    def _noted(self, name: str, batches: list[Batch]) -> Iterator[None]:
        """For the watchdog: since when the handler has these batches."""
        first, records = batches[0], sum(len(batch) for batch in batches)
        call = Call(name, first.tp, first.first_offset, records, time.monotonic())
        self._calls[id(call)] = call
        try:
            yield
        finally:
            del self._calls[id(call)]

    def _finished(self, batches: list[Batch], confirm: bool) -> None:
        """Nothing after a failure: what failed may stand before these."""
        if not confirm or self.failed.done():
            return
        for batch in batches:
            if self._owns(batch):
                self.consumer.confirm(batch.tp, batch.next_offset)

    def _release(self, batch: Batch) -> None:
        if self._owns(batch):
            self.consumer.release(batch)

    def _owns(self, batch: Batch) -> bool:
        fetcher = self.consumer.fetcher
        return fetcher is not None and fetcher.owns(batch)

    async def _on_revoked(self, _app: faust.App, revoked: set[TP], **_kwargs: Any) -> None:
        for callback in self._revoked_callbacks:
            await callback(set(revoked))

    async def _on_assigned(self, _app: faust.App, assigned: set[TP], **_kwargs: Any) -> None:
        metrics.REBALANCES.labels(self.group).inc()
        self.outbox.open()
        raised = {tp.topic for tp in assigned if tp.partition >= self.settings.partitions}
        if raised:
            self.fail(more_than_before(raised, self.settings.partitions))
            return
        await self.tables.keep({tp.partition for tp in assigned}, self.app.consumer_generation_id)
        for callback in self._assigned_callbacks:
            await callback(set(assigned))
        self._start(self._recover({tp.partition for tp in assigned}))

    async def _recover(self, partitions: set[int]) -> None:
        """Beside the rebalance: batches wait for their own partition's table alone."""
        try:
            await self.control.caught_up()
            await self.tables.open_all(partitions)
        except* Exception as errors:
            first = errors.exceptions[0]
            event(log, "tables.failed", logging.ERROR, error=str(first))
            self.fail(first)

    async def _begin_to_keep(self) -> None:
        self._start(self._keep_positions())

    async def _keep_positions(self) -> None:
        while not self.failed.done():
            try:
                await self.positions.run()
            except (OutboxFailed, Abandoned) as error:
                self.fail(error)

    async def _on_rebalanced(self, _app: faust.App, **_kwargs: Any) -> None:
        self._assigned_once, self._given_up_because = True, None
        if not self.consumer.assignment():
            self.consumer.settle()


def _alone(run_turn: Callable[[list[Batch]], Awaitable[None]]) -> Callable[[Batch], Coroutine[Any, Any, None]]:
    """Each batch as a turn of its own, beside the others."""

    async def start(batch: Batch) -> None:
        await run_turn([batch])

    return start
