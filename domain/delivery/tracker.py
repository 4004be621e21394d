"""Which offsets of one partition are unfinished, and so how far may be confirmed. Pure.

Deliveries finish out of order; what may be confirmed is everything below the lowest unfinished one. Kafka's offsets may
have gaps (transaction markers, compaction): nothing is counted, only the records that were opened.
"""

from collections import deque


class PartitionTracker:
    """All of one partition since it was assigned; a new assignment gets a new tracker."""

    def __init__(self) -> None:
        self._open: deque[int] = deque()  # ascending; may hold finished ones behind an unfinished first
        self._finished: set[int] = set()  # of those in `_open`
        self._next = 0
        self._confirmed = 0
        self._revoked = False

    @property
    def unfinished(self) -> int:
        return len(self._open) - len(self._finished)

    def open(self, offset: int) -> bool:
        """False for a record that was opened before (a batch that is read again): it is running or done."""
        if offset < self._next:
            return False
        if self._next == 0:
            self._confirmed = offset
        self._open.append(offset)
        self._next = offset + 1
        return True

    def finish(self, offset: int) -> int | None:
        """What may now be confirmed (the next offset to read), if that moved. Nothing after `revoke`."""
        self._finished.add(offset)
        while self._open and self._open[0] in self._finished:
            self._finished.discard(self._open.popleft())
        return self._moved()

    def revoke(self) -> None:
        """The partition belongs to somebody else: what still finishes here confirms nothing."""
        self._revoked = True

    @property
    def revoked(self) -> bool:
        return self._revoked

    def _moved(self) -> int | None:
        lowest = self._open[0] if self._open else self._next
        if self._revoked or lowest <= self._confirmed:
            return None
        self._confirmed = lowest
        return lowest
