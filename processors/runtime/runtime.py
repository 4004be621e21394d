"""One process of processors: a Faust app over the batched transport, its agents, tables, outbox and readiness.

agent.py is its interface for agents; handling.py calls their handlers. An error that leaves an agent is a failure of
the infrastructure: the process ends with it, its batches unconfirmed, and the supervisor starts it again. No exception
ever confirms a batch.

Errors that pass by themselves end nothing: when the group's coordinator is away for longer than the session, or brokers
take no records for long, the process gives up its assignment (`give_up`) and joins its group again, as a new member.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import faust
from confluent_kafka import KafkaException
from faust.types import TP

from domain.entities.control_view import ControlView
from operations.control_reader import ControlReader
from operations.kafka_clients import reason_of
from operations.logs import event
from operations.metrics import DEGRADED
from operations.operations_port import Readiness
from operations.schema_registry import SchemaRegistry
from operations.settings import Settings
from operations.topic_admin import PartitionsChanged, TopicAdmin
from processors.runtime import metrics
from processors.runtime.agent import Agent, AgentSpec
from processors.runtime.app import BATCH_SCHEMA, create_app
from processors.runtime.batches import Batch
from processors.runtime.errors import Abandoned, ControlLost, LeaseLost, OutboxFailed
from processors.runtime.following import Following, more_than_before
from processors.runtime.handling import Handling
from processors.runtime.newest_decided import newest_decided_ms
from processors.runtime.outbox import Outbox, OutboxBatch
from processors.runtime.positions import Positions
from processors.runtime.serial_batches import SerialBatches
from processors.runtime.table import TablePartition, TableSpec
from processors.runtime.tables import Tables
from processors.runtime.transport import Consumer
from processors.runtime.vital_signs import VitalSigns
from processors.runtime.work import Work

log = logging.getLogger(__name__)


class Runtime:
    """Implements `AgentRuntime`. The rest is for `processors.__main__`, the watchdog and the parts of the runtime."""

    def __init__(self, settings: Settings, group: str) -> None:
        self.settings = settings
        self.group = group
        self.app: Any = create_app(settings, group)  # Any: Faust's interfaces leave out half of what it has
        self.readiness = Readiness()
        self.control = ControlReader(settings.kafka, ControlView(), lambda reason: self.fail(ControlLost(reason)))
        self.registry: SchemaRegistry | None = None
        self.outbox = Outbox(settings.kafka)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unwatched: set[str] = set()
        self.positions = Positions(settings.kafka, group, self.outbox, lambda topic: topic in self._unwatched)
        self.tables = Tables(settings.kafka, Path(settings.home) / "tables" / group, self._newest_decided_ms)
        self.following = Following(partial(TopicAdmin, settings.kafka), settings.partitions)
        self._handling = Handling(
            lambda: self.consumer, self.control, self.tables, self._unwatched, self.failed, self.fail
        )
        self._agents: list[Agent] = []
        self._topics: dict[str, list[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._follows = False
        self._assigned_once = False
        self._given_up_because: str | None = None
        self._ready_when_begun = False
        for counter in (metrics.MISSED, metrics.GIVEN_UP):
            counter.labels(group)  # shown from the start, as 0
        self.consumer.positions = self.positions
        self.consumer.fail = self.fail
        self.consumer.on_draining = self._drain_agents
        self.consumer.on_unfinished = self.give_up
        self.app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        self.app.on_partitions_assigned.connect(self._on_assigned, weak=False)
        self.app.on_rebalance_complete.connect(self._on_rebalanced, weak=False)
        self.readiness.require("membership", self._not_a_member)
        self.readiness.require("tables", self._not_recovered)
        self.readiness.require("log", self._not_caught_up)
        self.readiness.require("control", self._not_in_view)
        self.readiness.degrade("control", lambda: self.control.why_behind if self.control.is_old else None)
        DEGRADED.labels("control").set_function(lambda: float(self.control.is_old))

    # What agents may use (agent.py says what each promises)

    def add(self, agent: Agent, spec: AgentSpec) -> None:
        self._agents.append(agent)
        for table, retention_seconds in spec.tables.items():
            self.tables.declare(TableSpec(table, f"{self.group}-{table}-changelog", retention_seconds))
        self._topics[spec.name] = [str(topic) for topic in spec.topics]
        self._unwatched.update(() if spec.is_watched else self._topics[spec.name])
        self._ready_when_begun |= spec.confirms_itself  # when its records are through lies with their receivers
        if spec.follows is not None:
            self.following.add(spec.name, spec.follows)
            self.consumer.followed = self._followed_when_assigned
            self._follows = True
        if spec.positions is not None:
            self.consumer.start_from = spec.positions
        if spec.fetch_bytes is not None:
            self.consumer.at_once_bytes = spec.fetch_bytes
        handle = partial(self._handling.handle, spec.name, agent.handle, spec.confirms_itself)
        self._run_stream(spec.name, SerialBatches(handle).add if spec.serial_by_partition else _one_by_one(handle))

    def ready_when(self, name: str, missing: Callable[[], str | None]) -> None:
        self.readiness.require(name, missing)

    @property
    def epoch(self) -> int:
        fetcher = self.consumer.fetcher
        return 0 if fetcher is None else fetcher.epoch

    def begin(self, batch: Batch, *, eager: bool = False, prompt: bool = False) -> Work:
        return self._begin(batch.tp.partition, self.outbox.batch(eager=eager, prompt=prompt))

    def begin_at(self, partition: int) -> Work:
        return self._begin(partition, self.outbox.batch())

    def _begin(self, partition: int, out: OutboxBatch) -> Work:
        return Work(self.group, out, self.tables.views(partition), partition, self.consumer.lease)

    def outputs(self, *, prompt: bool = False) -> OutboxBatch:
        return self.outbox.batch(prompt=prompt)

    def confirm(self, tp: TP, next_offset: int) -> None:
        if self.owned(tp):
            self.consumer.confirm(tp, next_offset)

    def owned(self, tp: TP) -> bool:
        fetcher = self.consumer.fetcher
        return fetcher is not None and tp in fetcher.assigned()

    def note_handled(self, records: int) -> None:
        self._handling.handled_records += records

    def fail(self, error: BaseException) -> None:
        if isinstance(error, Abandoned):
            return
        if self._passes(error):
            self.give_up(str(error))
        elif not self.failed.done():
            self.failed.set_exception(error)

    def give_up(self, why: str) -> None:
        if self.outbox.is_closed or self.failed.done():
            return
        event(log, "assignment.given_up", logging.WARNING, group=self.group, why=why)
        metrics.GIVEN_UP.labels(self.group).inc()
        self._assigned_once, self._given_up_because = False, why
        self.consumer.lease.give_up()
        self.outbox.give_up()
        self.positions.forget()
        for agent in self._agents:
            agent.given_up()
        self.tables.lose_all()
        self.consumer.start_over()

    def follow(self, name: str, topics: Sequence[str]) -> None:
        self.following.add(name, topics)

    def unfollow(self, topics: Sequence[str]) -> None:
        self.following.discard(topics)
        self.consumer.stop_reading(topics)

    async def open_tables(self, partition: int) -> bool:
        return await self.tables.open(partition)

    def close_tables(self, partition: int) -> None:
        self.tables.give_up(partition)

    def committed(self, partition: int, table: str) -> TablePartition:
        return self.tables.committed(partition, table)

    # The life of the process

    async def start(self) -> None:
        """Joins the group; what it needs is prepared before (processors/__main__.py)."""
        await self.app.start()
        self._start(self._keep_positions())
        if self._follows:
            self._start(self._keep_following())
        for agent in self._agents:
            await agent.started()

    async def stop(self) -> None:
        """An orderly end: batches that run may finish, and what is confirmed is committed."""
        for agent in self._agents:
            await agent.stopping()
        await self.app.stop()
        await self.outbox.stop()
        await self.control.stop()
        if self.registry is not None:
            await self.registry.close()
        self.tables.close()

    @property
    def consumer(self) -> Consumer:
        return cast(Consumer, self.app.consumer)

    def is_owner(self) -> bool:
        """Whether this worker fetches any partition now."""
        fetcher = self.consumer.fetcher
        return fetcher is not None and bool(fetcher.assigned())

    def vital_signs(self, now: float) -> VitalSigns | None:
        """For the watchdog."""
        consumer, fetcher = self.consumer, self.consumer.fetcher
        if fetcher is None:
            return None
        idle = fetcher.due_and_idle()
        return VitalSigns(
            failure=fetcher.failure or consumer.failure(),
            lag=fetcher.lag(),
            unwatched=frozenset(self._unwatched),
            held_back=fetcher.open_transactions(),
            idle=idle,
            unreadable={tp: why for tp in idle if (why := fetcher.unreadable(tp)) is not None},
            done=self._handling.handled_records + self.tables.recovered_entries,
            call=self._handling.longest_call(),
            rebalancing_since=consumer.rebalancing_since,
            outbox_stuck_seconds=self.outbox.stuck_seconds(now),
            fetch_unanswered_at=fetcher.unanswered_at,
            positions_unanswered_at=self.positions.unanswered_at,
            coordinator_away_at=consumer.coordinator_away_at(now),
        )

    def _passes(self, error: BaseException) -> bool:
        """A lapse that was noticed in time, by a worker that ran all the while; and brokers that were away."""
        if isinstance(error, LeaseLost):
            return not self.consumer.lease.was_frozen(time.monotonic())
        return isinstance(error, OutboxFailed) and error.passes

    # What `/readyz` says is missing

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

    def _not_a_member(self) -> str | None:
        if self._assigned_once:
            return None
        if self._given_up_because is None:
            return "no partitions assigned yet"
        return f"the assignment was given up, and the group has not answered since: {self._given_up_because}"

    # Streams of batches, and topics outside the subscription

    def _run_stream(self, name: str, start: Callable[[Batch], Coroutine[Any, Any, None]]) -> None:
        channel = self.app.topic(*self._topics[name], schema=BATCH_SCHEMA)

        async def run(stream: Any) -> None:
            async for faust_event in stream.events():
                self._start(start(faust_event.message.value))

        run.__name__ = name
        self.app.agent(channel, name=name)(run)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _followed_of(self, numbers: set[int]) -> set[TP]:
        """The partitions outside the subscription with these numbers, ready to be handed to their agents."""
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
            event(log, "following.delayed", logging.WARNING, error=reason_of(error))
            self.following.look_again()
        return set()

    async def _keep_following(self) -> None:
        async def read() -> bool:
            return await self.consumer.read_beside(await self._followed_of(self.consumer.owned_numbers()))

        try:
            await self.following.keep(read)
        except Exception as error:
            event(log, "following.failed", logging.ERROR, error=repr(error))
            self.fail(error)

    def _newest_decided_ms(self, partition: int) -> int | None:
        subscribed = {topic for topics in self._topics.values() for topic in topics}
        topics = sorted(subscribed.union(self.following.topics))
        kept = self.positions.known(topics, partition)
        return newest_decided_ms(self.settings.kafka, self.group, topics, partition, kept)

    # Rebalances

    async def _drain_agents(self) -> None:
        for agent in self._agents:
            await agent.draining()

    async def _on_revoked(self, _app: faust.App, revoked: set[TP], **_kwargs: Any) -> None:
        for agent in self._agents:
            await agent.revoked(set(revoked))

    async def _on_assigned(self, _app: faust.App, assigned: set[TP], **_kwargs: Any) -> None:
        metrics.REBALANCES.labels(self.group).inc()
        self.outbox.open()
        raised = {tp.topic for tp in assigned if tp.partition >= self.settings.partitions}
        if raised:
            self.fail(more_than_before(raised, self.settings.partitions))
            return
        await self.tables.keep({tp.partition for tp in assigned}, self.app.consumer_generation_id)
        for agent in self._agents:
            await agent.assigned(set(assigned))
        self._start(self._recover({tp.partition for tp in assigned}))

    async def _on_rebalanced(self, _app: faust.App, **_kwargs: Any) -> None:
        self._assigned_once, self._given_up_because = True, None
        if not self.consumer.assignment():
            self.consumer.end_rebalance()

    async def _recover(self, partitions: set[int]) -> None:
        """Runs in parallel with the rebalance: a batch waits for the tables of its own partition only."""
        try:
            await self.control.caught_up()
            await self.tables.open_all(partitions)
        except* Exception as errors:
            first = errors.exceptions[0]
            event(log, "tables.failed", logging.ERROR, error=str(first))
            self.fail(first)

    async def _keep_positions(self) -> None:
        while not self.failed.done():
            try:
                await self.positions.run()
            except (OutboxFailed, Abandoned) as error:
                self.fail(error)


def _one_by_one(handle: Callable[[list[Batch]], Awaitable[None]]) -> Callable[[Batch], Coroutine[Any, Any, None]]:
    """Each batch by itself, concurrently with those of other partitions."""

    async def start(batch: Batch) -> None:
        await handle([batch])

    return start
