"""An agent's handler on one partition, without Faust and without a broker: real work, real tables, outputs in memory.

`Rig` stands for the runtime and the log. A batch is handled as the runtime does it; what leaves is kept by topic, in
order. `crash()` forgets what the process knew and keeps what the disk has.
"""

import time
from collections.abc import Callable, Coroutine, Sequence
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


class Rig:
    """`build(runtime)` is an agent module's; entities are what `control` says."""

    def __init__(self, build: Callable[[Any], None], directory: Path, entities: Sequence[State]) -> None:
        self.sent: list[Sent] = []
        self.settings = Settings.from_env({"ATLAS_MASTER_KEY": "07" * 32})
        self._build = build
        self._directory = directory
        self._ends: dict[str, int] = {}
        self._lease = Lease(SESSION_SECONDS)
        self._lease.renew(time.monotonic())
        self._entities = entities
        self._tables: dict[str, TablePartition] = {}
        self._start()

    async def handle(self, records: Sequence[LogRecord]) -> list[Sent]:
        """One batch; what it caused."""
        before = len(self.sent)
        await self._handler(Batch(TP(records[0].topic, PARTITION), list(records), epoch=1))
        return self.sent[before:]

    def crash(self) -> None:
        self.close()
        self._start()

    def close(self) -> None:
        for table in self._tables.values():
            table.close()
        self._tables.clear()

    def _start(self) -> None:
        view = ControlView()
        for state in self._entities:
            entity = state.to_entity()
            view.apply(entity.key, entity.encode())
        runtime = SimpleNamespace(
            settings=self.settings,
            registry=None,
            control=SimpleNamespace(view=view, catch_up=_caught_up),
            table=self._declare,
            agent=self._take_handler,
            begin=self._begin,
            follow=lambda *_: None,
            unfollow=lambda *_: None,
        )
        self._build(runtime)

    def _declare(self, name: str, *, retention_seconds: int | None = None) -> None:
        spec = TableSpec(name, f"test-{name}-changelog", retention_seconds)
        self._tables[name] = TablePartition(spec, self._directory / name, shared_cache())

    def _take_handler(self, _name: str, _topics: Sequence[str], handler: Any, **_how: Any) -> None:
        self._handler: Callable[[Batch], Coroutine[Any, Any, None]] = handler

    def _begin(self, batch: Batch, *, eager: bool = False) -> Work:
        views = {name: TableView(table, TOPIC_ID) for name, table in self._tables.items()}
        out = cast(OutboxBatch, Out(self.sent, self._ends))
        return Work("test", out, views, batch.tp.partition, self._lease)


async def _caught_up() -> bool:
    return True
