"""Which offsets a member of the group commits next."""

from collections.abc import Iterable, Mapping, Set

from faust.types import TP


class ConfirmedOffsets:
    """Mutable. Of each partition the next offset to be read (as Kafka counts) up to which everything is finished, and
    the one that was committed last.
    """

    def __init__(self) -> None:
        self._confirmed: dict[TP, int] = {}
        self._committed: dict[TP, int] = {}

    def confirm(self, tp: TP, next_offset: int) -> None:
        """Everything of `tp` below `next_offset` is finished. It never goes back."""
        if next_offset > self._confirmed.get(tp, -1):
            self._confirmed[tp] = next_offset

    def begin(self, committed: Mapping[TP, int], to_commit: Mapping[TP, int]) -> None:
        """Where reading begins: at offsets that are committed, and at others that are to be committed next."""
        self._committed |= committed
        self._confirmed |= to_commit

    def due(self, again: Set[TP] = frozenset()) -> dict[TP, int]:
        """Confirmed and not committed yet; of the partitions `again` also the offset that was committed last."""
        kept = {tp: offset for tp, offset in self._committed.items() if tp in again}
        new = {tp: offset for tp, offset in self._confirmed.items() if offset > self._committed.get(tp, -1)}
        return kept | new

    def note_committed(self, offsets: Mapping[TP, int]) -> set[TP]:
        """Returns the partitions of which this is still true: one may have been given up, or its topic recreated, while
        the commit was under way. Then less of it is finished than was committed.
        """
        still = {tp: at for tp, at in offsets.items() if at <= self._finished(tp)}
        self._committed |= still
        return set(still)

    def forget(self, tps: Iterable[TP]) -> None:
        for tp in tps:
            self._confirmed.pop(tp, None)
            self._committed.pop(tp, None)

    def clear(self) -> None:
        self._confirmed.clear()
        self._committed.clear()

    def _finished(self, tp: TP) -> int:
        return max(self._confirmed.get(tp, -1), self._committed.get(tp, -1))
