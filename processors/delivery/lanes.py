"""Who goes next: one lane an endpoint, each with a bound of its own, under one bound for all. Pure.

Lanes take turns, so that an endpoint with a thousand waiting deliveries does not come before one with a single one, and
an endpoint that answers slowly fills its own lane and no more of the whole.
"""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(slots=True)
class _Lane(Generic[Item]):
    waiting: deque[Item] = field(default_factory=deque)
    running: int = 0
    queued: bool = False
    """Whether it stands in the round of lanes that may start one."""


class Lanes(Generic[Item]):
    """`add` what waits, `take` what may start now, tell `done` when it has ended."""

    def __init__(self, running_max: int, lane_running_max: Callable[[Hashable], int]) -> None:
        """`lane_running_max`: how many of a lane may run as things stand; asked again before each is taken."""
        self._running_max = running_max
        self._lane_running_max = lane_running_max
        self._lanes: dict[Hashable, _Lane[Item]] = {}
        self._round: deque[Hashable] = deque()
        self.running = 0
        self.waiting = 0

    def add(self, key: Hashable, item: Item) -> None:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        lane.waiting.append(item)
        self.waiting += 1
        self._join_round(key, lane)

    def take(self) -> tuple[Hashable, Item] | None:
        """The next that may start; it counts as running from here. None: nothing may start now."""
        while self._round and self.running < self._running_max:
            key = self._round.popleft()
            lane = self._lanes.get(key)
            if lane is None:
                continue
            lane.queued = False
            if not self._may_start(key, lane):
                if not lane.running and not lane.waiting:
                    del self._lanes[key]
                continue
            item = lane.waiting.popleft()
            lane.running += 1
            self.running += 1
            self.waiting -= 1
            self._join_round(key, lane)
            return key, item
        return None

    def done(self, key: Hashable) -> None:
        """One that was taken from this lane has ended."""
        lane = self._lanes[key]
        lane.running -= 1
        self.running -= 1
        if not lane.running and not lane.waiting:
            del self._lanes[key]
        else:
            self._join_round(key, lane)

    def count(self, key: Hashable) -> int:
        """How many of this lane wait here or run."""
        lane = self._lanes.get(key)
        return 0 if lane is None else lane.running + len(lane.waiting)

    def first_waiting(self, key: Hashable) -> Item | None:
        lane = self._lanes.get(key)
        return lane.waiting[0] if lane is not None and lane.waiting else None

    def longest(self) -> Hashable:
        """The lane with most that wait; None without lanes."""
        return max(self._lanes, key=lambda key: len(self._lanes[key].waiting), default=None)

    def withdraw(self, key: Hashable) -> list[Item]:
        """Takes out all that waits in this lane; what runs goes on."""
        lane = self._lanes.get(key)
        if lane is None:
            return []
        items = list(lane.waiting)
        lane.waiting.clear()
        self.waiting -= len(items)
        if not lane.running and not lane.queued:
            del self._lanes[key]
        return items

    def clear(self) -> list[Item]:
        """Takes out all that waits; what runs goes on."""
        return [item for key in list(self._lanes) for item in self.withdraw(key)]

    def _join_round(self, key: Hashable, lane: _Lane[Item]) -> None:
        if not lane.queued and self._may_start(key, lane):
            lane.queued = True
            self._round.append(key)

    def _may_start(self, key: Hashable, lane: _Lane[Item]) -> bool:
        return bool(lane.waiting) and lane.running < self._lane_running_max(key)
