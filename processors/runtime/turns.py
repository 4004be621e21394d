"""Batches that share a table take turns: those of one partition number, of whatever topics, one group after another.

A table's partition p belongs to partition p of every topic its agent follows. Were two of them handled at once, each
would decide without the other's entry: a key sent to two streams at the same moment would be new twice, and a later
confirmed batch would move the table's position past an earlier one's changes. What waits meanwhile is handled together
in the next turn, so that many topics cost no more turns than one.
"""

from collections import deque
from collections.abc import Awaitable, Callable

from processors.runtime.batches import Batch

TURN_RECORDS_MAX = 4_000


class Turns:
    """`handle` gets batches of one partition number, at least one, in the order they came; it must not raise."""

    def __init__(self, handle: Callable[[list[Batch]], Awaitable[None]]) -> None:
        self._handle = handle
        self._waiting: dict[int, deque[Batch]] = {}
        self._running: set[int] = set()

    async def take(self, batch: Batch) -> None:
        """Returns once nothing of the partition waits, or at once where its turns are being handled already."""
        partition = batch.tp.partition
        waiting = self._waiting.setdefault(partition, deque())
        waiting.append(batch)
        if partition in self._running:
            return
        self._running.add(partition)
        try:
            while waiting:
                await self._handle(_next_turn(waiting))
        finally:
            self._running.discard(partition)


def _next_turn(waiting: deque[Batch]) -> list[Batch]:
    """The first that waits, and as many after it as keep the turn within its bound."""
    turn = [waiting.popleft()]
    records = len(turn[0])
    while waiting and records + len(waiting[0]) <= TURN_RECORDS_MAX:
        turn.append(waiting.popleft())
        records += len(turn[-1])
    return turn
