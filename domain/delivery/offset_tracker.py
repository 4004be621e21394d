"""Which offsets of one partition are unfinished, and so how far the partition may be committed.

Deliveries finish out of order; everything below the lowest unfinished one may be committed. Kafka's offsets can have
gaps (transaction markers, compaction), so only the records that were opened count.
"""

from collections import deque


class OffsetTracker:
    """Mutable: one partition since it was assigned. A new assignment gets a new tracker."""

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
        """False for a record that was opened before, in a batch that is read again: it runs or is finished."""
        if offset < self._next:
            return False
        if self._next == 0:
            self._confirmed = offset
        self._open.append(offset)
        self._next = offset + 1
        return True

    def finish(self, offset: int) -> int | None:
        """The next offset to commit, if that changed; None after `revoke`."""
        self._finished.add(offset)
        while self._open and self._open[0] in self._finished:
            self._finished.discard(self._open.popleft())
        return self._moved()

    def revoke(self) -> None:
        """The partition has another owner now: what still finishes here commits nothing."""
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
