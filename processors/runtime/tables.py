"""The tables of a process: which are declared, which partitions are open, which must be closed after a rebalance.

They are opened when their partitions are assigned, not at the first batch: recovery then runs while records are
fetched, and the first event after a start or a rebalance waits only for the rest of it.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaException

from operations.cluster_admin import NEVER, ClusterAdmin
from operations.kafka_clients import UNKNOWN_TOPIC, code_of
from operations.logs import event
from operations.topic_admin import ensure_topics, once_answered
from processors.runtime.changelog import Changelog, open_partition, topic_id_of
from processors.runtime.errors import Abandoned
from processors.runtime.fetcher import UNREADABLE
from processors.runtime.table import TablePartition, TableSpec, TableView, shared_cache
from schemas.topics import TopicSpec

log = logging.getLogger(__name__)
AGAIN_SECONDS = 1.0
UNKNOWN_SECONDS_MAX = 60.0
"""A topic created a moment ago is not known to every broker yet; one that stays unknown is gone."""
Opened = dict[str, tuple[TablePartition, bytes]]


class Tables:
    def __init__(self, bootstrap: str, directory: Path, newest_decided_ms: Callable[[int], int | None]) -> None:
        """`newest_decided_ms`: of a partition, when the newest record was appended that was decided with its tables;
        blocking, and called in threads.
        """
        self._bootstrap = bootstrap
        self._newest_decided_ms = newest_decided_ms
        self._directory = directory
        self._specs: list[TableSpec] = []
        self._topic_ids: dict[str, bytes] = {}
        self._opened: dict[int, Opened] = {}
        self._under_way: dict[int, tuple[int, asyncio.Task[Opened]]] = {}
        """Recoveries that run, and how often the partition had been lost as each began."""
        self._generation: int | None = None
        self._lost: Counter[int] = Counter()
        """For each partition, how often it was lost, or may have been, to another worker."""
        self._assigned: set[int] | None = None
        self.recovered_entries = 0
        self._locks: dict[int, asyncio.Lock] = {}
        self._cache = shared_cache()

    def declare(self, spec: TableSpec) -> None:
        self._specs.append(spec)

    async def prepare(self, partitions: int) -> None:
        """Creates the changelog topics that are missing and learns the id of each. Waits for brokers that are away."""
        if not self._specs:
            return
        admin = ClusterAdmin(self._bootstrap)
        specs = [TopicSpec(spec.changelog, partitions, spec.topic_config()) for spec in self._specs]
        await once_answered(ensure_topics, admin, specs)
        for spec in self._specs:
            self._topic_ids[spec.name] = await once_answered(topic_id_of, admin, spec.changelog)

    async def open_all(self, partitions: Iterable[int]) -> None:
        """Side by side. Raises TableRefused."""
        if self._specs:
            async with asyncio.TaskGroup() as opening:
                for partition in partitions:
                    opening.create_task(self.open(partition))

    async def open(self, partition: int) -> bool:
        """See `AgentRuntime.open_tables`."""
        async with self._locks.setdefault(partition, asyncio.Lock()):
            asked_seconds = time.monotonic()
            while self._specs and partition not in self._opened:
                if self._assigned is not None and partition not in self._assigned:
                    return False
                lost, opening = self._under_way.get(partition) or self._begin(partition)
                try:
                    opened = await asyncio.shield(opening)
                except KafkaException as error:
                    if not _passes(error, time.monotonic() - asked_seconds):
                        raise
                    event(log, "table.waits", logging.WARNING, partition=partition, why=str(error))
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                finally:
                    if opening.done():
                        self._under_way.pop(partition, None)
                if self._lost[partition] == lost:
                    self._opened[partition] = opened
                    break
                _close(opened)  # its changelog may have moved on without us, though it came back
        return True

    def _begin(self, partition: int) -> "tuple[int, asyncio.Task[Opened]]":
        """In a thread, which can't be cancelled: who comes after one that was cancelled waits for the same."""
        begun = self._lost[partition], asyncio.create_task(asyncio.to_thread(self._open, partition))
        self._under_way[partition] = begun
        return begun

    def unopened(self) -> int:
        """How many of the assigned partitions are not recovered yet."""
        return len((self._assigned or set()) - self._opened.keys()) if self._specs else 0

    def _open(self, partition: int) -> Opened:
        opened: Opened = {}
        try:
            for spec in self._specs:
                topic_id = self._topic_ids[spec.name]
                decided = partial(self._newest_decided_ms, partition)
                changelog = Changelog(self._bootstrap, topic_id, decided, self._note_recovered)
                opened[spec.name] = (open_partition(changelog, spec, self._directory, self._cache, partition), topic_id)
        except BaseException:
            _close(opened)
            raise
        return opened

    def _note_recovered(self, entries: int) -> None:
        """Called in the recovering threads. Without a lock the count may be a little too low; it only has to grow."""
        self.recovered_entries += entries

    def committed(self, partition: int, name: str) -> TablePartition:
        """See `AgentRuntime.committed`."""
        return self._opened[partition][name][0]

    def views(self, partition: int) -> dict[str, TableView]:
        """New views for one batch. Raises Abandoned where the partition was closed meanwhile."""
        if self._specs and partition not in self._opened:
            raise Abandoned(f"the tables of partition {partition} were given up")
        return self.opened(partition)

    def opened(self, partition: int) -> dict[str, TableView]:
        """Empty where the partition is not open."""
        return {name: TableView(table, topic_id) for name, (table, topic_id) in self._opened.get(partition, {}).items()}

    async def keep(self, partitions: set[int], generation: int) -> None:
        """After a rebalance: closes the partitions that another worker owns now, since it writes to their changelogs. A
        worker that missed a generation of the group closes all: others may have owned its partitions in between.
        """
        missed = self._generation is not None and generation != self._generation + 1
        self._generation = generation
        kept = set() if missed else partitions
        self._lost.update((self._assigned or set()) - kept)
        self._assigned = partitions
        for partition in set(self._opened) - kept:
            self._close(partition)

    def lose_all(self) -> None:
        """Each partition may be another worker's from now on: none is opened until they are assigned again."""
        self._lost.update(self._assigned or ())
        self._assigned = set()
        self.close()

    def give_up(self, partition: int) -> None:
        """See `AgentRuntime.close_tables`."""
        if partition in self._opened:
            self._close(partition)

    def close(self) -> None:
        for partition in list(self._opened):
            self._close(partition)

    def _close(self, partition: int) -> None:
        _close(self._opened.pop(partition))


def _passes(error: KafkaException, since_seconds: float) -> bool:
    """Whether it helps to ask again: a broker is away, a partition has no leader for now."""
    code = code_of(error)
    if code in UNKNOWN_TOPIC:
        return since_seconds < UNKNOWN_SECONDS_MAX
    return code not in NEVER | UNREADABLE


def _close(opened: Opened) -> None:
    for table, _topic_id in opened.values():
        table.close()
