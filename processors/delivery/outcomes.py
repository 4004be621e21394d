"""Writes outcomes to the log, many at a time: what ended while the last group was on its way makes the next.

A delivery counts as finished once the broker has its outcome, never before.
"""

import asyncio
from collections.abc import Callable

from processors.delivery import metrics
from processors.runtime.outbox import Outbox
from schemas.records import Outcome
from schemas.topics import Topic

Finished = Callable[[], None]


class OutcomeWriter:
    """`run` as a task; it raises OutboxFailed when the broker refuses an outcome."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._ended: list[tuple[Outcome, Finished]] = []
        self._unconfirmed = 0
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        metrics.UNCONFIRMED_OUTCOMES.set_function(lambda: self._unconfirmed)

    def add(self, outcome: Outcome, finished: Finished) -> None:
        """`finished` is called when the broker has the outcome."""
        self._ended.append((outcome, finished))
        self._unconfirmed += 1
        self._idle.clear()
        self._arrived.set()

    async def idle(self) -> None:
        """Returns when all that was added is confirmed."""
        await self._idle.wait()

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self._write()

    async def _write(self) -> None:
        group, self._ended = self._ended, []
        out = self._outbox.batch()
        for outcome, _finished in group:
            out.produce(Topic.OUTCOMES, outcome.encode(), key=outcome.event_id.encode())
        await out.confirmed()
        for _outcome, finished in group:
            finished()
        self._unconfirmed -= len(group)
        if self._unconfirmed == 0:
            self._idle.set()
