"""How far streams reach now, for reads that must not say "there is none" before all of it was looked at.

However many reads ask, the broker is asked one question at a time, and fifty a second at most: a flood of reads of
unknown ids becomes no flood of questions. Blocks of control records at an end (what a transaction leaves behind it) are
recognized, since no decision ever comes of them.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ingest_gateway.log.ends import LogEnds
from operations.coalescing import Coalesced
from operations.record_reader import RecordReader
from operations.topic_ends import Partition

APART_SECONDS = 0.02
READ_SECONDS = 2.0
Range = tuple[int, int]
"""Offsets: from the first, up to but without the second."""


class StreamEnd(NamedTuple):
    """Of a partition. Up to `stable` it can be read, at `high` it ends; what lies between waits for a transaction
    that is still open. `held_seconds`: for how long that is known to wait.
    """

    stable: int
    high: int
    held_seconds: float


class _Seen(NamedTuple):
    """What follows `begin`: the first record's offset, or none before `end`."""

    begin: int
    end: int
    first: int | None

    def says(self, asked: Range) -> bool | None:
        """Whether there is a record in that range; None where it was not looked at."""
        begin, end = asked
        if begin < self.begin:
            return None
        if self.first is not None and self.first >= begin:
            return self.first < end
        return False if self.first is None and end <= self.end else None


class StreamEnds:
    def __init__(self, ends: LogEnds, records: RecordReader) -> None:
        self._ends = ends
        self._records = records
        self._now: Coalesced[Partition, StreamEnd] = Coalesced(self._look, APART_SECONDS)
        self._searched: Coalesced[tuple[Partition, Range], bool] = Coalesced(self._search)
        self._held: dict[Partition, tuple[int, float]] = {}
        self._seen: dict[Partition, _Seen] = {}

    async def now(self, partitions: Collection[Partition]) -> dict[Partition, StreamEnd]:
        """Of those that are there, as of this moment or later. Raises EndsUnknown."""
        return await self._now.about(partitions)

    async def with_records(self, ranges: Mapping[Partition, Range]) -> set[Partition]:
        """The partitions whose range holds a record that can be read. Raises RecordUnreachable."""
        found, unknown = set(), []
        for partition, asked in ranges.items():
            seen = self._seen.get(partition)
            says = None if seen is None else seen.says(asked)
            if says is None:
                unknown.append((partition, asked))
            elif says:
                found.add(partition)
        answers = await self._searched.about(unknown)
        return found | {partition for (partition, _asked), there in answers.items() if there}

    async def _look(self, partitions: Collection[Partition]) -> dict[Partition, StreamEnd]:
        now_seconds = asyncio.get_running_loop().time()
        found = await self._ends.ends(partitions)
        ends = {}
        for partition, (stable, high) in found.items():
            held_seconds = 0.0
            if stable < high:
                since = self._held.get(partition)
                if since is None or since[0] != stable:
                    since = self._held[partition] = stable, now_seconds
                held_seconds = now_seconds - since[1]
            else:
                self._held.pop(partition, None)
            ends[partition] = StreamEnd(stable, high, held_seconds)
        return ends

    async def _search(self, asked: Collection[tuple[Partition, Range]]) -> dict[tuple[Partition, Range], bool]:
        begins: dict[Partition, int] = {}
        for partition, (begin, _end) in asked:
            begins[partition] = min(begin, begins.get(partition, begin))
        firsts = await self._records.first_records(begins, READ_SECONDS)
        answers = {}
        for partition, (begin, end) in asked:
            first = firsts[partition]
            self._seen[partition] = _Seen(begins[partition], max(end, begins[partition]), first)
            answers[partition, (begin, end)] = first is not None and first < end
        return answers
