"""The interface between agents and the runtime: what an agent implements, and what it may use.

A module with an agent has a function `build(runtime: AgentRuntime)`, which makes the agent and hands it to
`runtime.add` with its `AgentSpec`. `processors.__main__` calls it once, on the running event loop, after `control` was
read to its end and before the process joins its consumer group.

An agent imports nothing else of this package than what this file exports, and the metric DEAD_LETTERS; a test holds it
to that. Everything here is called on the event loop's thread.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from faust.types import TP

from domain.entities.control_view import ControlView
from domain.tables import CommittedTable
from operations.schema_registry import SchemaRegistry
from operations.settings import Settings
from processors.runtime.batches import Batch
from processors.runtime.errors import Abandoned, LeaseLost, OutboxFailed
from processors.runtime.outputs import Outputs
from processors.runtime.table import TableView
from processors.runtime.work import Work

__all__ = [
    "Abandoned",
    "Agent",
    "AgentRuntime",
    "AgentSpec",
    "Batch",
    "Control",
    "LeaseLost",
    "OutboxFailed",
    "Outputs",
    "OwnPositions",
    "TableView",
    "Unconfirmed",
    "Work",
]

Unconfirmed = Sequence[Outputs]
"""Outputs of a batch that the broker has not confirmed yet."""

OwnPositions = Callable[[set[TP]], Awaitable[Mapping[TP, int | None]]]
"""Where to begin reading each partition (None: at its first record)."""


@dataclass(frozen=True)
class AgentSpec:
    """What the runtime needs to know of an agent before it runs."""

    name: str
    """Unique in the process; a label of metrics."""
    topics: Sequence[str]
    """What the group subscribes to for as long as the process lives."""
    tables: Mapping[str, int | None] = field(default_factory=dict)
    """Durable tables by name, co-partitioned with the topics; with the seconds after which entries age out (None:
    they stay until they are deleted).
    """
    follows: Sequence[str] | None = None
    """Topics to be read outside the subscription, which `follow` and `unfollow` change later (following.py). None: the
    agent never follows any.
    """
    serial_by_partition: bool = False
    """Batches of one partition number are handled one after another whatever their topics, and a batch may hold records
    of several topics, topic after topic. For an agent whose topics share a table.
    """
    confirms_itself: bool = False
    """Offsets are committed only as far as the agent's calls of `confirm` say, not when `handle` returns."""
    is_watched: bool = True
    """False: the watchdog ignores these topics. For topics whose steady records would look like progress of the other
    agents in the process.
    """
    positions: OwnPositions | None = None
    """For an agent that keeps its positions with its results: what it returns counts, and the group's offsets don't."""
    fetch_bytes: int | None = None
    """About how much of one partition is fetched at once. For an agent that puts together what several topics say of
    the same time; None: as the client likes.
    """


class Agent(Protocol):
    """Handles whole batches. The methods after `handle` are called as the process and its partitions come and go; an
    agent overrides those that it needs. What any method raises is a failure of the infrastructure: the process stops
    with it, nothing more is confirmed, and the supervisor starts it again. Trouble with one record is no such failure:
    it goes to the dead letters (`Work.dead_letter`), and its batch goes on.

    In the life of a process: `started`; then for each rebalance `draining`, `revoked`, `assigned`, or `given_up`
    instead of the first two when the assignment is lost at once; at the end `stopping`, `draining`.
    """

    @abstractmethod
    async def handle(self, batch: Batch) -> Unconfirmed | None:
        """Handles the records of one partition, in the log's order. Calls for one partition follow each other; those
        for different partitions run as concurrent tasks.

        Begins a `Work` (`AgentRuntime.begin`), produces and changes tables through it, and awaits `Work.commit()`. When
        it returns None, the batch is confirmed: its offsets are committed soon after. Records that the next batch does
        not depend on may be returned unconfirmed instead: that batch begins, and this one is confirmed once the broker
        has them all.

        Records can come again after a crash or a rebalance, and must then cause the same bytes again.
        """
        ...

    async def started(self) -> None:
        """Once, after the process began to join its group: `assigned` may have been called, and batches may have come,
        already. Start here what runs alongside batches.
        """
        return

    async def assigned(self, partitions: set[TP]) -> None:
        """After a rebalance, with all partitions that this process has now, those it kept included. Their batches may
        come while it runs.
        """
        return

    async def draining(self) -> None:
        """Before the last commit ahead of a rebalance, and at the end: let finish, and confirm, what runs alongside
        batches. The rebalance waits for it; past some seconds other members go on without this one.
        """
        return

    async def revoked(self, partitions: set[TP]) -> None:
        """In a rebalance, after the last commit: nothing of these partitions counts any more. `assigned` follows with
        what stays. When it returns, nothing may change their tables any more.
        """
        return

    def given_up(self) -> None:
        """The whole assignment was given up at once, without a last commit. Forget what unconfirmed batches left in
        memory: their records are read again. Nothing may be begun until `assigned`. The tables are closed after it.
        """
        return

    async def stopping(self) -> None:
        """An orderly end has begun and batches may still run. Not called when the process stops with an error."""
        return


class Control(Protocol):
    """The topic `control` as this process has read it (operations/control_reader.py)."""

    @property
    def view(self) -> ControlView:
        """Changes between two steps of the event loop only, so what is read without an await is consistent."""
        ...

    @property
    def ready(self) -> bool:
        """Whether the topic was read to the end that it had when the process started."""
        ...

    async def caught_up(self) -> None:
        """Returns once `ready` is true."""
        ...

    async def catch_up(self) -> bool:
        """Reads to the topic's end as of now; False if that takes longer than about two seconds."""
        ...

    def has_seen(self, at_seconds: float) -> bool:
        """Whether the view has all that was written before then (monotonic seconds)."""
        ...


class AgentRuntime(Protocol):
    """What agents may use of the runtime."""

    @property
    def settings(self) -> Settings:
        """Of this process; they do not change."""
        ...

    @property
    def control(self) -> Control:
        """Read to its end when `build` is called, and kept current."""
        ...

    @property
    def registry(self) -> SchemaRegistry | None:
        """None where no schema registry is configured."""
        ...

    @property
    def epoch(self) -> int:
        """Grows with each change of the assignment; no batch that was handed out so far has a higher one."""
        ...

    def add(self, agent: Agent, spec: AgentSpec) -> None:
        """Runs the agent in this process. Called by `build` only. Hooks of several agents are called in this order."""
        ...

    def ready_when(self, name: str, missing: Callable[[], str | None]) -> None:
        """`/readyz` names what is missing until `missing` returns None. Called often: it must return at once."""
        ...

    def begin(self, batch: Batch, *, eager: bool = False, prompt: bool = False) -> Work:
        """The unit of work of a batch. `prompt`: its records leave at once; `eager`: they do if nothing else is on its
        way. Work that goes a different way keeps no order with other work, so both are for agents that await each
        batch of a partition before the next. Raises Abandoned when the partition's tables were closed meanwhile.
        """
        ...

    def begin_at(self, partition: int) -> Work:
        """A unit of work alongside batches. At most one at a time may change the tables of a partition: a later one
        that is confirmed first would move the table's position past the changes of the earlier one. Raises as `begin`.
        """
        ...

    def outputs(self, *, prompt: bool = False) -> Outputs:
        """For records without table changes and without a lease: those that are right whichever process owns the
        partition. `prompt`: see `begin`.
        """
        ...

    def confirm(self, tp: TP, next_offset: int) -> None:
        """Everything of the partition below `next_offset` is finished; it is committed with the next commit. Lower than
        before does nothing, nor does a partition that this process does not have.
        """
        ...

    def owned(self, tp: TP) -> bool:
        """Whether this process reads the partition now."""
        ...

    def note_handled(self, records: int) -> None:
        """For agents that handle records alongside batches: the watchdog takes a worker whose count does not grow,
        while records wait, for one that hangs. Records of a batch whose `handle` returned are counted by the runtime.
        """
        ...

    def fail(self, error: BaseException) -> None:
        """Stops the process with this error, the first one if there are several. A lapse of the lease and an outbox
        whose brokers were away start the assignment over instead (`give_up`). Abandoned does nothing: it belongs to an
        assignment that is over.
        """
        ...

    def give_up(self, why: str) -> None:
        """Gives up the assignment at once: nothing of it leaves any more, `Agent.given_up` is called, and the process
        joins its group again as a new member would. `why` is logged. Again before that is done, it does nothing.
        """
        ...

    def follow(self, name: str, topics: Sequence[str]) -> None:
        """Also reads these topics, for the agent of that name; its spec has `follows`."""
        ...

    def unfollow(self, topics: Sequence[str]) -> None:
        """Stops reading them at once, since another topic may get the same name."""
        ...

    async def open_tables(self, partition: int) -> bool:
        """Returns True once this partition of every table is recovered, at once where it is; False where a rebalance
        took it away meanwhile. Waits for a broker that is away. Raises TableRefused.
        """
        ...

    def close_tables(self, partition: int) -> None:
        """Of a partition that was revoked while `open_tables` opened it; does nothing where it is not open."""
        ...

    def committed(self, partition: int, table: str) -> CommittedTable:
        """What is written of an open partition of a table, for reading alongside batches. Its reads raise once the
        partition was closed.
        """
        ...
