"""When each key is due next: the earliest time that was noted for it."""

import heapq
import itertools
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)


class DueTimes(Generic[_Key]):
    """Mutable. Of several times for one key the earliest counts; taking a key forgets its time."""

    def __init__(self) -> None:
        self._times: dict[_Key, int] = {}
        self._heap: list[tuple[int, int, _Key]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._times)

    def note(self, key: _Key, at_ms: int) -> bool:
        """Returns whether this is now the earliest time of all."""
        known = self._times.get(key)
        if known is not None and known <= at_ms:
            return False
        self._times[key] = at_ms
        heapq.heappush(self._heap, (at_ms, next(self._numbers), key))
        return self._heap[0][0] == at_ms

    def take(self, now_ms: int) -> list[_Key]:
        """The keys whose time has come, in the order of their times."""
        taken = []
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, _, key = heapq.heappop(self._heap)
            if self._times.get(key) == at_ms:
                del self._times[key]
                taken.append(key)
        return taken

    def drop(self, is_gone: Callable[[_Key], bool]) -> None:
        """Forgets the keys for which `is_gone` is true."""
        self._times = {key: at_ms for key, at_ms in self._times.items() if not is_gone(key)}
        self._heap = [row for row in self._heap if self._times.get(row[2]) == row[0]]
        heapq.heapify(self._heap)

    def next_ms(self) -> int | None:
        while self._heap and self._times.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
