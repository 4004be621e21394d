"""The Faust shell of projection: the topics of `projectors` in batches, written to the read model by one thread.

Reading begins at the read model's own positions, not at the group's offsets. They were committed with the rows, so a
database that was recreated or restored is filled from just where it ends. While the database is unreachable or locked,
the same transaction is tried again; nothing is skipped, and `/readyz` says why. A record that can't be read, or that
the database will never take, becomes a dead letter on its own, before its neighbours are written. Where the read model
was replaced (`atlas rebuild`), the process ends and starts again at the new one's positions.

Between transactions, rows that their streams no longer keep are deleted in slices (retention.py).
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from faust.types import TP

from operations import clock
from operations.logs import event
from operations.read_model_engine import writer_engine
from processors.projection import metrics
from processors.projection.decide import project
from processors.projection.projectors import PROJECTORS
from processors.projection.retention import AGING, START, expiring, kept_days
from processors.projection.store import DatabaseAway, Replaced, RowsRefused, Store
from processors.projection.transactions import Pending, Transactions
from processors.runtime.agent import Agent, AgentRuntime, AgentSpec, Batch
from schemas.commands.streams import RETENTION_DAYS_MAX
from schemas.read_model import EventRow, events

log = logging.getLogger(__name__)
AGENT = "projection"
BACKOFF_FIRST_SECONDS = 0.05
BACKOFF_MAX_SECONDS = 2.0
SWEEP_SECONDS = 10.0
AT_ONCE_BYTES = 128 * 1024
SWITCH_SECONDS = 0.001
"""The thread that writes waits this long for the interpreter after each statement, where the other makes rows."""
SLICE_PAUSE_SECONDS = 0.01
RECEIVED_MS = EventRow._fields.index("received_ms")
AWAY = "the database does not take transactions"

_Answer = TypeVar("_Answer")


class Projection(Agent):
    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime
        self._store = Store(writer_engine(runtime.settings.database_url))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-model")
        self._transactions = Transactions(self._write)
        self._prepared = False
        self._over_epoch = -1
        """Of batches: those up to here belong to an assignment that was given up."""
        self._missing: str | None = "its tables and positions are not read yet"
        self._writer: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None

    def declare(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self._writer = asyncio.get_running_loop().create_task(self._transactions.run())
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        spec = AgentSpec(AGENT, list(PROJECTORS), positions=self.positions, fetch_bytes=AT_ONCE_BYTES)
        self._runtime.add(self, spec)
        self._runtime.ready_when("read_model", lambda: self._missing)

    async def positions(self, tps: set[TP]) -> Mapping[TP, int | None]:
        """Where the read model ends, for each partition; the tables are made first if need be."""
        applied = await self._until_done(self._prepare)
        return {tp: applied.get((tp.topic, tp.partition)) for tp in tps}

    def _prepare(self) -> Mapping[tuple[str, int], int]:
        if not self._prepared:
            self._store.prepare()
            self._prepared = True
        return self._store.positions()

    async def handle(self, batch: Batch) -> None:
        """Returns once the batch waits for its transaction: while one runs, the next batches are made into rows.

        What the group commits by that is ahead of the read model, and never asked for: reading begins at `positions`.
        """
        changes = project(batch.records)
        if changes.unreadable:
            reasons = {unreadable.record.offset: unreadable.why for unreadable in changes.unreadable}
            await self._set_aside(batch, "unreadable", reasons)
        (await self._transactions.put(batch, changes)).add_done_callback(self._end_if_failed)

    def _end_if_failed(self, written: "asyncio.Future[None]") -> None:
        if not written.cancelled() and (error := written.exception()) is not None:
            self._runtime.fail(error)

    def given_up(self) -> None:
        """Writes no batch that waits: an earlier one may have been dropped, and the position would pass that one."""
        self._over_epoch = self._runtime.epoch

    async def _write(self, group: Sequence[Pending]) -> None:
        started = time.monotonic()
        group = [pending for pending in group if pending.batch.epoch > self._over_epoch]
        if not group:
            return
        try:
            await self._apply(group)
        except RowsRefused:
            for pending in group:
                await self._leave_out_refused(pending)
            await self._apply(group)
        _measure(group, time.monotonic() - started)

    async def _apply(self, group: Sequence[Pending]) -> None:
        await self._until_done(partial(self._store.apply, [pending.changes for pending in group]))

    async def _leave_out_refused(self, pending: Pending) -> None:
        records = pending.batch.records
        refused = await self._until_done(partial(self._store.refused, records, project))
        if refused:
            reasons = dict.fromkeys(refused, "the database refuses its row")
            await self._set_aside(pending.batch, "row_refused", reasons)
            pending.changes = project(records, without=refused)

    async def _sweep(self) -> None:
        """Takes out what is kept no longer, for as long as the process runs; an error ends it."""
        after = START
        try:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                if not self._prepared or not self._runtime.control.ready:
                    continue
                await self._until_done(self._store.check)
                await self._expire_all()
                for table in AGING:
                    await self._slice_by_slice(partial(self._store.delete_aged, table, clock.now_ms()))
                after = await self._until_done(partial(self._store.delete_leftovers, after, clock.now_ms()))
        except Exception as error:
            self._runtime.fail(error)

    async def _expire_all(self) -> None:
        known = kept_days(self._runtime.control.view.streams.values())
        for key in await self._until_done(self._store.streams_shown):
            old = expiring(key, known.get(key, RETENTION_DAYS_MAX), clock.now_ms())
            metrics.EXPIRED.inc(await self._slice_by_slice(partial(self._store.expire, old)))

    async def _slice_by_slice(self, take_out: Callable[[], int]) -> int:
        """Until nothing is left to take out; how much it was."""
        gone = 0
        while (some := await self._until_done(take_out)) > 0:
            gone += some
            await asyncio.sleep(SLICE_PAUSE_SECONDS)  # so that writes run in between
        return gone

    async def _set_aside(self, batch: Batch, reason: str, messages: Mapping[int, str]) -> None:
        """`messages` by offset. Returns once they are on the topic dead-letters: the position then passes them."""
        work = self._runtime.begin(batch)
        for record in batch.records:
            if record.offset in messages:
                work.dead_letter(record, reason, messages[record.offset])
        await work.commit()

    async def _until_done(self, job: Callable[[], _Answer]) -> _Answer:
        """Runs the job in the SQL thread, again and again while the database is away. Raises RowsRefused, Replaced."""
        backoff_seconds = BACKOFF_FIRST_SECONDS
        while True:
            try:
                answer = await asyncio.get_running_loop().run_in_executor(self._thread, job)
            except DatabaseAway as error:
                self._note_away(error)
                await asyncio.sleep(backoff_seconds)
                backoff_seconds = min(2 * backoff_seconds, BACKOFF_MAX_SECONDS)
            except Replaced:
                event(log, "read_model.replaced", logging.WARNING)
                raise
            else:
                self._note_back()
                return answer

    def _note_away(self, error: DatabaseAway) -> None:
        metrics.RETRIES.inc()
        metrics.AWAY.set(1)
        if self._missing != AWAY:
            event(log, "read_model.away", logging.ERROR, error=str(error))
        self._missing = AWAY

    def _note_back(self) -> None:
        if self._missing == AWAY:
            event(log, "read_model.back")
        metrics.AWAY.set(0)
        self._missing = None


def _measure(group: Sequence[Pending], seconds: float) -> None:
    metrics.TRANSACTION_SECONDS.observe(seconds)
    metrics.TRANSACTION_RECORDS.observe(sum(len(pending.batch) for pending in group))
    for pending in group:
        for table, rows in pending.changes.rows.items():
            metrics.ROWS.labels(table.name).inc(len(rows))
    shown = (row[RECEIVED_MS] for pending in group for row in pending.changes.rows.get(events, ()))
    oldest_ms = min(shown, default=None)
    if oldest_ms is not None:
        metrics.VISIBLE_SECONDS.observe(max(0.0, time.time() - oldest_ms / 1_000))


def build(runtime: AgentRuntime) -> None:
    Projection(runtime).declare()
