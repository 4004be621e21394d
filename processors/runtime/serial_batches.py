"""Batches that share a table are handled one after another: those of one partition number, whatever their topics.

Partition p of a table belongs to partition p of every topic that its agent reads. Were two of these handled at once,
each would decide without the other's entry: a key sent to two streams at the same moment would be new twice, and a
batch confirmed later would move the table's position past changes of an earlier one. Batches that arrive meanwhile are
handled together in the next call, so that many topics cost no more calls than one.
"""

from collections import deque
from collections.abc import Awaitable, Callable

from processors.runtime.batches import Batch

TOGETHER_RECORDS_MAX = 4_000


class SerialBatches:
    """`handle` gets batches of one partition number, at least one, in the order they came; it must not raise."""

    def __init__(self, handle: Callable[[list[Batch]], Awaitable[None]]) -> None:
        self._handle = handle
        self._queued: dict[int, deque[Batch]] = {}
        self._running: set[int] = set()

    async def add(self, batch: Batch) -> None:
        """Returns once nothing of the partition is queued, or at once where its batches are being handled already."""
        partition = batch.tp.partition
        queued = self._queued.setdefault(partition, deque())
        queued.append(batch)
        if partition in self._running:
            return
        self._running.add(partition)
        try:
            while queued:
                await self._handle(_taken_together(queued))
        finally:
            self._running.discard(partition)


def _taken_together(queued: deque[Batch]) -> list[Batch]:
    """The first batch, and as many after it as keep the number of records within the bound."""
    together = [queued.popleft()]
    records = len(together[0])
    while queued and records + len(queued[0]) <= TOGETHER_RECORDS_MAX:
        together.append(queued.popleft())
        records += len(together[-1])
    return together
