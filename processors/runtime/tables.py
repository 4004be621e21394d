"""The tables of a process: which are declared, which partitions are open, which must be given up after a rebalance."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from operations.topic_admin import ensure_topics
from processors.runtime.changelog import Changelog, open_partition, topic_id_of
from processors.runtime.decided import newest_decided_ms
from processors.runtime.table import TablePartition, TableSpec, TableView, shared_cache
from schemas.topics import TopicSpec

Opened = dict[str, tuple[TablePartition, bytes]]


class Tables:
    def __init__(self, bootstrap: str, group: str, directory: Path, sources: Callable[[], list[str]]) -> None:
        """`sources`: the topics whose records are decided with these tables."""
        self._bootstrap = bootstrap
        self._group = group
        self._sources = sources
        self._directory = directory
        self._specs: list[TableSpec] = []
        self._topic_ids: dict[str, bytes] = {}
        self._opened: dict[int, Opened] = {}
        self._generation: int | None = None
        self._locks: dict[int, asyncio.Lock] = {}
        self._cache = shared_cache()

    def declare(self, spec: TableSpec) -> None:
        self._specs.append(spec)

    async def prepare(self, partitions: int) -> None:
        """Makes the changelog topics that are missing and learns the id of each."""
        if self._specs:
            specs = [TopicSpec(spec.changelog, partitions, spec.topic_config()) for spec in self._specs]
            await asyncio.to_thread(ensure_topics, self._bootstrap, specs)
        for spec in self._specs:
            self._topic_ids[spec.name] = await asyncio.to_thread(topic_id_of, self._bootstrap, spec.changelog)

    async def open(self, partition: int) -> None:
        """Recovers this partition of every table; at once where it is open already. Raises TableRefused."""
        if partition in self._opened or not self._specs:
            return
        async with self._locks.setdefault(partition, asyncio.Lock()):
            if partition not in self._opened:
                self._opened[partition] = await asyncio.to_thread(self._open, partition)

    def _open(self, partition: int) -> Opened:
        opened: Opened = {}
        for spec in self._specs:
            topic_id = self._topic_ids[spec.name]
            decided = partial(newest_decided_ms, self._bootstrap, self._group, self._sources(), partition)
            changelog = Changelog(self._bootstrap, topic_id, decided)
            opened[spec.name] = (open_partition(changelog, spec, self._directory, self._cache, partition), topic_id)
        return opened

    def committed(self, partition: int, name: str) -> TablePartition:
        """What is written of a table's open partition, for reading beside batches."""
        return self._opened[partition][name][0]

    def opened(self, partition: int) -> dict[str, TableView]:
        """Fresh views for one batch."""
        return {name: TableView(table, topic_id) for name, (table, topic_id) in self._opened.get(partition, {}).items()}

    async def keep(self, partitions: set[int], generation: int) -> None:
        """After a rebalance: closes what another worker owns now, since its changelog moves on without us. Who missed a
        generation closes all: others may have owned in between what is its own again.
        """
        missed = self._generation is not None and generation != self._generation + 1
        self._generation = generation
        for partition in set(self._opened) - (set() if missed else partitions):
            self._close(partition)

    def give_up(self, partition: int) -> None:
        """One that was still being opened as a rebalance took it away."""
        if partition in self._opened:
            self._close(partition)

    def close(self) -> None:
        for partition in list(self._opened):
            self._close(partition)

    def _close(self, partition: int) -> None:
        for table, _topic_id in self._opened.pop(partition).values():
            table.close()
