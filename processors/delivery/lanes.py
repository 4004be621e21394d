"""Who goes next: one lane an endpoint, each with a bound of its own, under one bound for all. Pure.

Lanes take turns, so that an endpoint with a thousand waiting deliveries does not come before one with a single one, and
an endpoint that answers slowly fills its own lane and no more of the whole.
"""

from collections import deque
from collections.abc import Hashable
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

    def __init__(self, running_max: int, lane_running_max: int) -> None:
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
        if not self._round or self.running >= self._running_max:
            return None
        key = self._round.popleft()
        lane = self._lanes[key]
        lane.queued = False
        item = lane.waiting.popleft()
        lane.running += 1
        self.running += 1
        self.waiting -= 1
        self._join_round(key, lane)
        return key, item

    def done(self, key: Hashable) -> None:
        """One that was taken from this lane has ended."""
        lane = self._lanes[key]
        lane.running -= 1
        self.running -= 1
        if not lane.running and not lane.waiting:
            del self._lanes[key]
        else:
            self._join_round(key, lane)

    def clear(self) -> None:
        """Forgets all that waits; what runs goes on."""
        self._round.clear()
        self.waiting = 0
        for key, lane in list(self._lanes.items()):
            lane.waiting.clear()
            lane.queued = False
            if not lane.running:
                del self._lanes[key]

    def _join_round(self, key: Hashable, lane: _Lane[Item]) -> None:
        if lane.waiting and not lane.queued and lane.running < self._lane_running_max:
            lane.queued = True
            self._round.append(key)
