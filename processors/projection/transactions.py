"""Gathers what concurrent batches bring into transactions: many records in one under load, at once when idle.

After a pause the first batch waits 2 ms for others. Under steady load a transaction begins at most every 20 ms, and so
much later that half of the time is left to others (100 ms at most), or as soon as 50,000 records wait. A transaction
costs some milliseconds of statements, however many rows it writes, so few large ones are cheaper.

Where more records wait than fit in one transaction, the oldest come first, and outcomes before the decisions of the
same time: an event whose attempts are already there is written once, with its final status, and not once more with all
its indexes. Batches of one partition keep their order.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from faust.types import TP

from processors.projection.changes import Changes
from processors.runtime.batches import Batch
from schemas.topics import Topic

RECORDS_MAX = 50_000
AHEAD_RECORDS_MAX = 50_000
GATHER_SECONDS = 0.002
INTERVAL_SECONDS = 0.02
INTERVAL_SECONDS_MAX = 0.1
INTERVAL_OF_LAST = 2


@dataclass
class Pending:
    """A batch that waits to be written; `written` is resolved with the result."""

    batch: Batch
    changes: Changes
    written: "asyncio.Future[None]"

    @property
    def turn(self) -> tuple[int, bool]:
        """When it is this batch's, by the log's time in milliseconds."""
        records = self.batch.records
        if self.batch.tp.topic == Topic.OUTCOMES:
            return records[0].timestamp, False
        return records[-1].timestamp, True


class Transactions:
    """`add` from any task of the loop, while one task runs `run`."""

    def __init__(self, write: Callable[[Sequence[Pending]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: dict[TP, deque[Pending]] = {}
        self._records = 0
        self._arrived = asyncio.Event()
        self._enough = asyncio.Event()
        self._room = asyncio.Event()
        self._began_at = 0.0
        self._interval_seconds = INTERVAL_SECONDS

    async def add(self, batch: Batch, changes: Changes) -> None:
        """Returns once the batch is in the read model; raises what `write` raised."""
        await (await self.put(batch, changes))

    async def put(self, batch: Batch, changes: Changes) -> "asyncio.Future[None]":
        """Returns once the batch fits behind the running transaction; the future has the result."""
        while self._records >= AHEAD_RECORDS_MAX:
            self._room.clear()
            await self._room.wait()
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(batch.tp, deque()).append(Pending(batch, changes, written))
        self._records += len(batch)
        self._arrived.set()
        if self._records >= RECORDS_MAX:
            self._enough.set()
        return written

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            await self._gather()
            group = self._take()
            try:
                await self._write(group)
            except Exception as error:
                _tell(group, error)
            else:
                _tell(group, None)
            took_seconds = asyncio.get_running_loop().time() - self._began_at
            self._interval_seconds = min(INTERVAL_SECONDS_MAX, max(INTERVAL_SECONDS, INTERVAL_OF_LAST * took_seconds))

    async def _gather(self) -> None:
        now = asyncio.get_running_loop().time()
        wait_seconds = max(GATHER_SECONDS, self._began_at + self._interval_seconds - now)
        try:
            async with asyncio.timeout(wait_seconds):
                await self._enough.wait()
        except TimeoutError:
            pass
        self._began_at = asyncio.get_running_loop().time()

    def _take(self) -> list[Pending]:
        """Whole batches, up to 50,000 records in all; at least one."""
        group: list[Pending] = []
        records = 0
        while self._waiting:
            first = min((waiting[0] for waiting in self._waiting.values()), key=attrgetter("turn"))
            if group and records + len(first.batch) > RECORDS_MAX:
                break
            group.append(first)
            records += len(first.batch)
            self._waiting[first.batch.tp].popleft()
            if not self._waiting[first.batch.tp]:
                del self._waiting[first.batch.tp]
        self._records -= records
        self._room.set()
        if not self._waiting:
            self._arrived.clear()
        if self._records < RECORDS_MAX:
            self._enough.clear()
        return group


def _tell(group: Sequence[Pending], error: Exception | None) -> None:
    for pending in group:
        if pending.written.done():
            continue  # nobody waits any more
        if error is None:
            pending.written.set_result(None)
        else:
            pending.written.set_exception(error)
