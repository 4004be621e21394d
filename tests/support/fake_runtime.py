"""The runtime that agents see, without Kafka and Faust: real units of work and real tables, a log in memory.

`FakeRuntime` implements `AgentRuntime`, and passes the contract that the real one passes
(tests/pipeline/test_agent_runtime.py). A test hands it to an agent's `build`, assigns partitions, and looks at what
reached the log. After `stop()` the disk and the log have what they had.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from faust.types import TP

from domain.entities.control_view import ControlView
from operations.schema_registry import SchemaRegistry
from operations.settings import Settings
from processors.runtime.agent import Agent, AgentSpec, Unconfirmed
from processors.runtime.batches import Batch
from processors.runtime.errors import Abandoned, LeaseLost, OutboxFailed
from processors.runtime.lease import Lease
from processors.runtime.outputs import Outputs
from processors.runtime.table import TablePartition, TableSpec, TableView, shared_cache
from processors.runtime.work import Work
from schemas.entities import State
from schemas.log_records import LogRecord

SESSION_SECONDS = 3_600.0
TOPIC_ID = b"0123456789abcdef"


class Sent(NamedTuple):
    topic: str
    value: bytes | None
    key: bytes | None
    partition: int | None
    headers: tuple[tuple[str, bytes], ...] = ()


class ConfirmedLog:
    """What a broker has confirmed, in order. With `holds` set it confirms nothing until `confirm` is called."""

    def __init__(self) -> None:
        self.records: list[Sent] = []
        self.changelog_ends: dict[str, int] = {}
        self.holds = False
        self.life = 0
        """Of outputs begun before this many assignments were given up nothing is confirmed any more."""
        self.is_closed = False
        self.awaited = 0
        """How many callers wait for a confirmation now."""
        self._answered = asyncio.Event()

    async def confirm(self) -> None:
        """Confirms what is on its way now, and lets its callers go on."""
        await _others_run()
        self._answered.set()
        await _others_run()

    def give_up(self) -> None:
        self.life += 1
        self.is_closed = True
        self._answered.set()

    async def answered(self) -> None:
        if self.holds and not self.is_closed:
            self._answered.clear()
            self.awaited += 1
            await self._answered.wait()
            self.awaited -= 1


async def _others_run() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class MemoryOutputs:
    """Implements `Outputs`."""

    def __init__(self, log: ConfirmedLog) -> None:
        self.changelog_end: dict[str, int] = {}
        self._log = log
        self._life = log.life
        self._on_their_way: list[tuple[Sent, bool]] = []

    def produce(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: list[tuple[str, bytes]] | None = None,
        is_changelog: bool = False,
    ) -> None:
        self._check()
        sent = Sent(str(topic), value, key, partition, tuple(headers or ()))
        self._on_their_way.append((sent, is_changelog))

    def produce_many(self, topic: str, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            self.produce(topic, **message)

    def produce_values(self, topic: str, partition: int, values: list[bytes]) -> None:
        for value in values:
            self.produce(topic, value, partition=partition)

    async def confirmed(self) -> None:
        while self._on_their_way:
            sent = list(self._on_their_way)
            await self._log.answered()
            self._check()
            del self._on_their_way[: len(sent)]
            for one, is_changelog in sent:
                self._append(one, is_changelog)
        self._check()

    def _append(self, sent: Sent, is_changelog: bool) -> None:
        if is_changelog:
            end = self._log.changelog_ends.get(sent.topic, 0) + 1
            self._log.changelog_ends[sent.topic] = self.changelog_end[sent.topic] = end
        self._log.records.append(sent)

    def _check(self) -> None:
        if self._life != self._log.life or self._log.is_closed:
            raise Abandoned("the assignment that this belongs to was given up")


class MemoryControl:
    """Implements `Control`: a view that is always current."""

    def __init__(self, entities: Sequence[State] = ()) -> None:
        self.view = ControlView()
        self.ready = True
        for state in entities:
            self.put(state)

    def put(self, state: State) -> None:
        entity = state.to_entity()
        self.view.apply(entity.key, entity.encode())

    async def caught_up(self) -> None:
        """At once."""

    async def catch_up(self) -> bool:
        return True

    def has_seen(self, at_seconds: float) -> bool:
        return True


class FakeRuntime:
    """`failures` and `given_up` keep what agents passed to `fail` and `give_up`; `confirmed` has the next offset of
    each partition; `missing` has what each part says is missing for readiness.
    """

    def __init__(self, directory: Path, entities: Sequence[State] = (), env: Mapping[str, str] | None = None) -> None:
        """`env`: settings besides the usual ones. There is no broker at the address that `settings.kafka` has."""
        usual = {"ATLAS_HOME": str(directory), "ATLAS_KAFKA": "127.0.0.1:1", "ATLAS_MASTER_KEY": "07" * 32}
        self.settings = Settings.from_env(usual | dict(env or {}))
        self.control = MemoryControl(entities)
        self.registry: SchemaRegistry | None = None
        self.epoch = 1
        self.log = ConfirmedLog()
        self.lease = Lease(SESSION_SECONDS)
        self.confirmed: dict[TP, int] = {}
        self.failures: list[BaseException] = []
        self.given_up: list[str] = []
        self.handled = 0
        self.followed: dict[str, list[str]] = {}
        self.missing: dict[str, Callable[[], str | None]] = {}
        self._directory = directory / "tables"
        self._agents: dict[str, tuple[Agent, AgentSpec]] = {}
        self._specs: list[TableSpec] = []
        self._assigned: set[TP] = set()
        self._tables: dict[int, dict[str, TablePartition]] = {}

    # AgentRuntime

    def add(self, agent: Agent, spec: AgentSpec) -> None:
        self._agents[spec.name] = agent, spec
        self._specs += [TableSpec(name, f"test-{name}-changelog", kept) for name, kept in spec.tables.items()]
        if spec.follows is not None:
            self.followed[spec.name] = list(spec.follows)

    def ready_when(self, name: str, missing: Callable[[], str | None]) -> None:
        self.missing[name] = missing

    def begin(self, batch: Batch, *, eager: bool = False, prompt: bool = False) -> Work:
        return self.begin_at(batch.tp.partition)

    def begin_at(self, partition: int) -> Work:
        if self._specs and partition not in self._tables:
            raise Abandoned(f"the tables of partition {partition} were given up")
        tables = self._tables.get(partition, {})
        views = {name: TableView(table, TOPIC_ID) for name, table in tables.items()}
        return Work("test", self.outputs(), views, partition, self.lease)

    def outputs(self, *, prompt: bool = False) -> Outputs:
        return MemoryOutputs(self.log)

    def confirm(self, tp: TP, next_offset: int) -> None:
        if self.owned(tp):
            self.confirmed[tp] = max(next_offset, self.confirmed.get(tp, 0))

    def owned(self, tp: TP) -> bool:
        return tp in self._assigned

    def note_handled(self, records: int) -> None:
        self.handled += records

    def fail(self, error: BaseException) -> None:
        if isinstance(error, Abandoned):
            return
        if isinstance(error, LeaseLost) or (isinstance(error, OutboxFailed) and error.passes):
            self.give_up(str(error))
        elif not self.failures:
            self.failures.append(error)

    def give_up(self, why: str) -> None:
        if self.log.is_closed or self.failures:
            return
        self.given_up.append(why)
        self.lease.give_up()
        self.log.give_up()
        for agent, _spec in self._agents.values():
            agent.given_up()
        self._assigned.clear()
        self.close()
        self.epoch += 1

    def follow(self, name: str, topics: Sequence[str]) -> None:
        self.followed[name] += topics

    def unfollow(self, topics: Sequence[str]) -> None:
        for name, followed in self.followed.items():
            self.followed[name] = [topic for topic in followed if topic not in topics]

    async def open_tables(self, partition: int) -> bool:
        if partition not in self._tables:
            self._tables[partition] = {
                spec.name: TablePartition(spec, self._directory / spec.name / str(partition), shared_cache())
                for spec in self._specs
            }
        return True

    def close_tables(self, partition: int) -> None:
        for table in self._tables.pop(partition, {}).values():
            table.close()

    def committed(self, partition: int, table: str) -> TablePartition:
        return self._tables[partition][table]

    # What the group and the process do to it

    async def assign(self, *tps: TP, calls_agents: bool = True) -> None:
        """Ends a rebalance: this process has these partitions, and no others."""
        self._assigned = set(tps)
        self.log.is_closed = False
        self.hold_lease()
        for partition in set(self._tables) - {tp.partition for tp in tps}:
            self.close_tables(partition)
        for agent, _spec in self._agents.values() if calls_agents else ():
            await agent.assigned(set(tps))
        for tp in tps:
            await self.open_tables(tp.partition)

    def declare(self, table: str) -> None:
        """For tests of a part of an agent, which adds no agent."""
        self._specs.append(TableSpec(table, f"test-{table}-changelog"))

    def hold_lease(self) -> None:
        now = time.monotonic()
        self.lease.begin(now)
        self.lease.renew(now)

    async def handle(self, tp: TP, records: Sequence[LogRecord]) -> None:
        """One batch, from its handler's call until everything that it produced is confirmed."""
        agent, spec = self._reader_of(tp.topic)
        if spec.positions is not None:
            await spec.positions({tp})
        unconfirmed: Unconfirmed | None = await agent.handle(Batch(tp, list(records), self.epoch))
        for out in unconfirmed or ():
            await out.confirmed()
        if not spec.confirms_itself:
            self.confirm(tp, records[-1].offset + 1)

    def _reader_of(self, topic: str) -> tuple[Agent, AgentSpec]:
        for name, (agent, spec) in self._agents.items():
            if topic in map(str, [*spec.topics, *self.followed.get(name, ())]):
                return agent, spec
        raise LookupError(f"no agent reads {topic}")

    @property
    def sent(self) -> list[Sent]:
        """What is on the log, without the tables' changelogs."""
        changelogs = {spec.changelog for spec in self._specs}
        return [one for one in self.log.records if one.topic not in changelogs]

    @property
    def agents(self) -> dict[str, Agent]:
        return {name: agent for name, (agent, _spec) in self._agents.items()}

    async def stop(self) -> None:
        """Ends the process; after it agents may be built again, as a new process would."""
        for agent, _spec in self._agents.values():
            await agent.stopping()
        self.close()
        self._agents.clear()
        self._specs.clear()
        self._assigned.clear()
        self.failures.clear()
        self.epoch += 1

    def close(self) -> None:
        for partition in list(self._tables):
            self.close_tables(partition)
