"""What of one partition of `control` is not in KV yet.

A log without its group's offsets is read from its beginning, where flags stand that were lifted long ago. So nothing of
a partition is put before it was read to where it ended when reading began; after that each change is at once.
"""

from itertools import islice

from domain.guardrails.kv_entries import Change


class Unmirrored:
    def __init__(self, end: int | None) -> None:
        """`end`: where the partition ended when reading began; None: not known, so that only its end itself counts."""
        self.next_offset = 0
        self._end = end
        self._reached = False
        self._changes: dict[str, tuple[Change, int]] = {}

    @property
    def is_due(self) -> bool:
        """Whether what it holds is the present state, and not something of the past."""
        return self._reached or (self._end is not None and self.next_offset >= self._end)

    @property
    def since_ms(self) -> int | None:
        """When the oldest change was decided; None: there is none."""
        return min((at_ms for _, at_ms in self._changes.values()), default=None)

    def read(self, offset: int, change: Change | None, at_ms: int) -> None:
        """A record. Only the last word on each KV key is kept, in the order of these last words."""
        self.next_offset = offset + 1
        if change is not None:
            _, since_ms = self._changes.pop(change.key, (change, at_ms))
            self._changes[change.key] = change, min(since_ms, at_ms)

    def end_reached(self, offset: int) -> None:
        """There is no record at or behind this offset, nor any before it that was not read."""
        self.next_offset = max(self.next_offset, offset)
        self._reached = True

    def changes(self, at_most: int) -> list[Change]:
        """The first of them."""
        return [change for change, _ in islice(self._changes.values(), at_most)]

    def done(self, change: Change) -> None:
        del self._changes[change.key]
