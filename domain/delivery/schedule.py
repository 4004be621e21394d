"""When something is to be looked at next: the earliest time noted for each. Pure."""

import heapq
import itertools
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Schedule(Generic[Key]):
    """Of several times for one key the earliest counts; it is forgotten as it is taken."""

    def __init__(self) -> None:
        self._times: dict[Key, int] = {}
        self._heap: list[tuple[int, int, Key]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._times)

    def note(self, key: Key, at_ms: int) -> bool:
        """True where this is now the first of all."""
        known = self._times.get(key)
        if known is not None and known <= at_ms:
            return False
        self._times[key] = at_ms
        heapq.heappush(self._heap, (at_ms, next(self._numbers), key))
        return self._heap[0][0] == at_ms

    def take(self, now_ms: int) -> list[Key]:
        """Those whose time has come, in its order."""
        taken = []
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, _, key = heapq.heappop(self._heap)
            if self._times.get(key) == at_ms:
                del self._times[key]
                taken.append(key)
        return taken

    def drop(self, is_gone: Callable[[Key], bool]) -> None:
        """Forgets all keys that are gone."""
        self._times = {key: at_ms for key, at_ms in self._times.items() if not is_gone(key)}
        self._heap = [row for row in self._heap if self._times.get(row[2]) == row[0]]
        heapq.heapify(self._heap)

    def next_ms(self) -> int | None:
        while self._heap and self._times.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
