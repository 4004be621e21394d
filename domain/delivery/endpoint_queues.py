"""Who goes next: one lane an endpoint, each with a bound of its own, under one bound for all. Pure.

Lanes take turns, so that an endpoint with a thousand waiting deliveries does not come before one with a single one, and
an endpoint that answers slowly fills its own lane and no more of the whole. However many are slow, there is room left
for those that are quick: all others have a bound together, and one of which nothing is known yet may run a few only.
"""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
KNOWN_MAX = 50_000
OTHERS_EVERY = 8


@dataclass(slots=True)
class _Lane(Generic[Item]):
    waiting: deque[Item] = field(default_factory=deque)
    running: int = 0
    queued: bool = False
    """Whether it stands in the round of lanes that may start one, or waits for room among those that are not quick."""


class Lanes(Generic[Item]):
    """`add` what waits, `take` what may start now, tell `done` when it has ended."""

    def __init__(
        self,
        running_max: int,
        lane_running_max: Callable[[Hashable], int],
        *,
        not_quick_running_max: int | None = None,
        unknown_running_max: int | None = None,
    ) -> None:
        """`lane_running_max`: how many of a lane may run as things stand; asked again before each is taken.
        `not_quick_running_max`: how many of all lanes together that are slow or unknown; `unknown_running_max`: how
        many of one of which nothing is known. None: no such bound.
        """
        self._running_max = running_max
        self._lane_running_max = lane_running_max
        self._not_quick_max = running_max if not_quick_running_max is None else not_quick_running_max
        self._unknown_max = running_max if unknown_running_max is None else unknown_running_max
        self._is_quick: dict[Hashable, bool] = {}
        self._slow_lanes = 0
        self._not_quick_running = 0
        self._held: deque[Hashable] = deque()
        """Lanes that could start one, did not so many run that are not quick."""
        self._lanes: dict[Hashable, _Lane[Item]] = {}
        self._rounds: dict[bool, deque[Hashable]] = {True: deque(), False: deque()}
        """Lanes that may start one: those that are quick, and the others."""
        self._takes = 0
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
        while self.running < self._running_max and (round_ := self._next_round()):
            key = round_.popleft()
            lane = self._lanes.get(key)
            if lane is None:
                continue
            if not self.is_quick(key) and self._not_quick_running >= self._not_quick_max:
                self._held.append(key)
                continue
            lane.queued = False
            if not self._may_start(key, lane):
                if not lane.running and not lane.waiting:
                    del self._lanes[key]
                continue
            item = lane.waiting.popleft()
            lane.running += 1
            self.running += 1
            self._not_quick_running += not self.is_quick(key)
            self._takes += 1
            self.waiting -= 1
            self._join_round(key, lane)
            return key, item
        return None

    def done(self, key: Hashable) -> None:
        """One that was taken from this lane has ended."""
        lane = self._lanes[key]
        lane.running -= 1
        self.running -= 1
        if not self.is_quick(key):
            self._not_quick_running -= 1
            self._let_go()
        if not lane.running and not lane.waiting:
            del self._lanes[key]
        else:
            self._join_round(key, lane)

    def mark(self, key: Hashable, *, quick: bool) -> None:
        """How its attempts are. It counts until it is marked anew, also while the lane is empty."""
        known = self._is_quick.get(key)
        if known is quick:
            return
        self._slow_lanes += (not quick) - (known is False)
        lane = self._lanes.get(key)
        if lane is not None and quick is not (known is True):
            self._not_quick_running += -lane.running if quick else lane.running
        self._is_quick[key] = quick
        if len(self._is_quick) > KNOWN_MAX:
            self._forget_oldest()
        if quick and lane is not None and lane.queued and key in self._held:
            self._held.remove(key)
            self._rounds[True].append(key)
        self._let_go()
        if lane is not None:
            self._join_round(key, lane)

    def is_quick(self, key: Hashable) -> bool:
        return self._is_quick.get(key, False)

    def is_slow(self, key: Hashable) -> bool:
        """Known as such; one of which nothing is known is not."""
        return self._is_quick.get(key) is False

    @property
    def slow_lanes(self) -> int:
        return self._slow_lanes

    def slow_waiting(self) -> list[Hashable]:
        """The slow lanes in which something waits."""
        return [key for key, lane in self._lanes.items() if lane.waiting and self.is_slow(key)]

    def _next_round(self) -> deque[Hashable] | None:
        """Of those that are quick, but now and then of the others, which would not become known otherwise."""
        quick, others = self._rounds[True], self._rounds[False]
        if quick and (not others or self._takes % OTHERS_EVERY):
            return quick
        return others or None

    def _let_go(self) -> None:
        """As many of the held lanes as there is room for come into the round."""
        for _ in range(min(len(self._held), self._not_quick_max - self._not_quick_running)):
            self._rounds[False].append(self._held.popleft())

    def _forget_oldest(self) -> None:
        """Unless it is in use."""
        key = next(iter(self._is_quick))
        known = self._is_quick.pop(key)
        if key in self._lanes:
            self._is_quick[key] = known
        else:
            self._slow_lanes -= not known

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
            self._rounds[self.is_quick(key)].append(key)

    def _may_start(self, key: Hashable, lane: _Lane[Item]) -> bool:
        if not lane.waiting or (lane.running >= self._unknown_max and key not in self._is_quick):
            return False
        return lane.running < self._lane_running_max(key)
