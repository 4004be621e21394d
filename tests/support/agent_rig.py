"""An agent's handlers on one partition, without Faust and without a broker: real work, real tables, outputs in memory.

`Rig` stands for the runtime and the log. A batch is handled as the runtime does it; what leaves is kept in order.
`crash()` forgets what the process knew and keeps what the disk has.
"""

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from faust.types import TP

from domain.entities.control_view import ControlView
from operations.settings import Settings
from processors.runtime.batches import Batch
from processors.runtime.lease import Lease
from processors.runtime.outbox import OutboxBatch
from processors.runtime.table import TablePartition, TableSpec, TableView, shared_cache
from processors.runtime.work import Work
from schemas.entities import State
from schemas.log_records import LogRecord
from tests.support.until import until

PARTITION = 3
TOPIC_ID = b"0123456789abcdef"
SESSION_SECONDS = 3_600.0


class Sent(NamedTuple):
    topic: str
    value: bytes | None
    key: bytes | None
    partition: int | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Out:
    """What `OutboxBatch` is, for records that nobody reads."""

    def __init__(self, sent: list[Sent], ends: dict[str, int]) -> None:
        self.sent = sent
        self.changelog_end = ends

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
        if is_changelog:
            self.changelog_end[topic] = self.changelog_end.get(topic, 0) + 1
        else:
            self.sent.append(Sent(topic, value, key, partition, tuple(headers or ())))

    def produce_many(self, topic: str, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            self.produce(topic, **message)

    def produce_values(self, topic: str, partition: int, values: list[bytes]) -> None:
        for value in values:
            self.produce(topic, value, partition=partition)

    async def confirmed(self) -> None:
        """At once."""


Handler = Callable[[Batch], Coroutine[Any, Any, object]]


class Rig:
    """`build(runtime)` is an agent module's; entities are what `control` says; `env`: settings beside the usual."""

    def __init__(
        self,
        build: Callable[[Any], None],
        directory: Path,
        entities: Sequence[State] = (),
        env: Mapping[str, str] | None = None,
        finished: Callable[[list[Sent], Sequence[LogRecord]], bool] = lambda _sent, _records: True,
    ) -> None:
        """`finished`: for agents that do their work after a batch was taken in, whether all of it is done."""
        self.sent: list[Sent] = []
        self.agents: list[str] = []
        """Names of those that were declared."""
        self.settings = Settings.from_env(
            {"ATLAS_HOME": str(directory), "ATLAS_MASTER_KEY": "07" * 32, "ATLAS_KAFKA": "127.0.0.1:1", **(env or {})}
        )
        self._build = build
        self._finished = finished
        self._directory = directory
        self._entities = entities
        self._ends: dict[str, int] = {}
        self._lease = Lease(SESSION_SECONDS)
        self._lease.renew(time.monotonic())
        self._tables: dict[str, TablePartition] = {}
        self._epoch = 1
        self._start()

    async def handle(self, records: Sequence[LogRecord]) -> list[Sent]:
        """One batch; what it caused, once all that the agent finishes later is finished too."""
        before = len(self.sent)
        topic = records[0].topic
        handler = self._handlers[topic]
        if self._start_from is not None:
            await self._start_from(set())
        await handler(Batch(TP(topic, PARTITION), list(records), epoch=self._epoch))
        await until(lambda: self._failed is not None or self._finished(self.sent, records))
        if self._failed is not None:
            raise self._failed
        return self.sent[before:]

    async def crash(self) -> None:
        await self.stop()
        self._epoch += 1
        self._start()

    async def stop(self) -> None:
        for callback in self._on_stopping:
            await callback()
        for table in self._tables.values():
            table.close()
        self._tables.clear()

    def _start(self) -> None:
        view = ControlView()
        for state in self._entities:
            entity = state.to_entity()
            view.apply(entity.key, entity.encode())
        self._handlers: dict[str, Handler] = {}
        self._failed: BaseException | None = None
        self._start_from: Callable[[set[TP]], Coroutine[Any, Any, object]] | None = None
        self._on_stopping: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._build(RigRuntime(self, view))

    # What the agent's runtime tells

    def declare(self, name: str, retention_seconds: int | None) -> None:
        spec = TableSpec(name, f"test-{name}-changelog", retention_seconds)
        self._tables[name] = TablePartition(spec, self._directory / name, shared_cache())

    def take_handler(self, topics: Sequence[str], handler: Handler) -> None:
        self._handlers |= dict.fromkeys(map(str, topics), handler)

    def take_stopping(self, callback: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._on_stopping.append(callback)

    def take_start_from(self, callback: Callable[[set[TP]], Coroutine[Any, Any, object]]) -> None:
        self._start_from = callback

    def note_failed(self, error: BaseException) -> None:
        self._failed = error

    def out(self) -> OutboxBatch:
        return cast(OutboxBatch, Out(self.sent, self._ends))

    def work(self) -> Work:
        views = {name: TableView(table, TOPIC_ID) for name, table in self._tables.items()}
        return Work("test", self.out(), views, PARTITION, self._lease)

    def table(self, name: str) -> TablePartition:
        return self._tables[name]


class RigRuntime:
    """As much of `Runtime` as agents ask for while they are built and handle batches."""

    def __init__(self, rig: Rig, view: ControlView) -> None:
        self._rig = rig
        self.settings = rig.settings
        self.registry = None
        self.control = SimpleNamespace(view=view, ready=True, catch_up=_true, caught_up=_true)
        self.outbox = SimpleNamespace(batch=lambda **_how: rig.out())
        self.tables = SimpleNamespace(open=_true, committed=lambda _partition, name: rig.table(name))
        self.readiness = SimpleNamespace(require=_nothing)
        self.handled_records = 0

    def table(self, name: str, *, retention_seconds: int | None = None) -> None:
        self._rig.declare(name, retention_seconds)

    def agent(
        self,
        name: str,
        topics: Sequence[str],
        handler: Handler,
        *,
        follows: Sequence[str] = (),
        **_how: Any,
    ) -> None:
        self._rig.agents.append(name)
        self._rig.take_handler([*topics, *follows], handler)

    def begin(self, _batch: Batch, **_how: bool) -> Work:
        return self._rig.work()

    def begin_at(self, _partition: int, **_how: bool) -> Work:
        return self._rig.work()

    def on_stopping(self, callback: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._rig.take_stopping(callback)

    def start_from(self, callback: Callable[[set[TP]], Coroutine[Any, Any, object]]) -> None:
        self._rig.take_start_from(callback)

    def fail(self, error: BaseException) -> None:
        self._rig.note_failed(error)

    def __getattr__(self, name: str) -> Callable[..., None]:
        """What is told of rebalances, starts and topics to follow, which do not come here."""
        if name.startswith("on_") or name in ("confirm", "follow", "unfollow", "read_side_by_side"):
            return _nothing
        raise AttributeError(name)


async def _true(*_: object) -> bool:
    return True


def _nothing(*_: object) -> None:
    pass
