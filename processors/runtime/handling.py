"""Calls agents' handlers with batches, and confirms the batches that are finished.

Batches of one partition are handled one after another, those of different partitions as concurrent tasks. A batch is
finished when its handler has returned and the broker has what the handler returned unconfirmed. A batch whose partition
was taken away is not this worker's any more, whatever its handler says.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

from operations.control_reader import ControlReader
from operations.logs import event
from processors.runtime import metrics
from processors.runtime.batches import Batch, joined
from processors.runtime.outputs import Outputs
from processors.runtime.tables import Tables
from processors.runtime.transport import Consumer
from processors.runtime.vital_signs import Call

log = logging.getLogger(__name__)
HandleBatch = Callable[[Batch], Awaitable[Sequence[Outputs] | None]]
"""`Agent.handle`."""


class Handling:
    """Of all agents of a process. `handled_records` grows with each batch whose handler returned."""

    def __init__(
        self,
        consumer: Callable[[], Consumer],
        control: ControlReader,
        tables: Tables,
        unwatched: set[str],
        failed: "asyncio.Future[None]",
        fail: Callable[[BaseException], None],
    ) -> None:
        """`unwatched`: topics whose records do not count as handled. `failed`: done once the process ends with an
        error; nothing is handled or confirmed after that.
        """
        self.handled_records = 0
        self._consumer = consumer
        self._control = control
        self._tables = tables
        self._unwatched = unwatched
        self._process_failed = failed
        self._fail = fail
        self._calls: dict[int, Call] = {}

    def longest_call(self) -> Call | None:
        """The call that has run the longest by now, of agents whose batch ends when the handler returns."""
        return min(self._calls.values(), key=lambda call: call.started_seconds, default=None)

    async def handle(self, name: str, handle: HandleBatch, confirms_itself: bool, batches: list[Batch]) -> None:
        """One call of the handler for these batches of one partition number; none for those that a rebalance took
        away, nor after a failure, since what failed is missing in the table. Never raises.
        """
        started = asyncio.get_running_loop().time()
        mine = [batch for batch in batches if self._owns(batch)]
        if not mine or self._process_failed.done():
            return
        key = name, mine[0].tp.partition
        unconfirmed = self._consumer().unconfirmed
        try:
            await self._control.caught_up()
            await self._tables.open(mine[0].tp.partition)
            mine = [batch for batch in mine if self._owns(batch)]
            if not mine:
                return
            with nullcontext() if confirms_itself else self._noted(name, mine):
                outputs = await handle(joined(mine))
                await unconfirmed.ended(key)
        except Exception as error:
            self._failed(name, mine, error)
            return
        finish = partial(self._finished, mine, confirms_itself)
        if not outputs:
            finish()
        else:
            unconfirmed.begin(key, self._confirmed(name, mine, outputs), finish, partial(self._failed, name, mine))
        for batch in mine:
            self._release(batch)
        self._count(name, mine, started)

    def _count(self, name: str, batches: list[Batch], started_seconds: float) -> None:
        records = sum(len(batch) for batch in batches)
        self.handled_records += 0 if batches[0].tp.topic in self._unwatched else records
        metrics.RECORDS.labels(name).inc(records)
        metrics.BATCH_RECORDS.labels(name).observe(records)
        metrics.BATCH_SECONDS.labels(name).observe(asyncio.get_running_loop().time() - started_seconds)

    async def _confirmed(self, name: str, batches: list[Batch], outputs: Sequence[Outputs]) -> None:
        with self._noted(name, batches):
            for out in outputs:
                await out.confirmed()

    def _failed(self, name: str, batches: list[Batch], error: Exception) -> None:
        """Batches that are not this worker's any more are read again by their new owner: their tables may have been
        closed, and their records dropped, while the handler ran.
        """
        first = batches[0]
        where = {"agent": name, "topic": first.tp.topic, "offset": first.first_offset}
        if not any(self._owns(batch) for batch in batches):
            event(log, "batch.abandoned", logging.WARNING, **where, why=repr(error))
        else:
            event(log, "agent.failed", logging.ERROR, **where)
            self._fail(error)

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

    def _finished(self, batches: list[Batch], confirms_itself: bool) -> None:
        """Confirms nothing after a failure: the batch that failed may come before these."""
        if confirms_itself or self._process_failed.done():
            return
        for batch in batches:
            if self._owns(batch):
                self._consumer().confirm(batch.tp, batch.next_offset)

    def _release(self, batch: Batch) -> None:
        if self._owns(batch):
            self._consumer().release(batch)

    def _owns(self, batch: Batch) -> bool:
        fetcher = self._consumer().fetcher
        return fetcher is not None and fetcher.owns(batch)
