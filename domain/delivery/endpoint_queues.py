"""Which delivery starts next: a queue for each endpoint, with a limit of its own, under one limit for all.

Queues are served in rotation, so that an endpoint with a thousand deliveries does not go before one with a single one.
An endpoint that answers slowly fills its own queue and no more of the whole. However many endpoints are slow, some of
the capacity is left to quick ones: all others share a limit, and an endpoint of which nothing is known yet may have a
few attempts only.

Mutable: one object has the queues of a process. Items are the deliveries in the states QUEUED_… and, once taken,
RUNNING_… (states.py).
"""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
KNOWN_MAX = 50_000
OTHERS_EVERY = 8


@dataclass(slots=True)
class _Queue(Generic[_Item]):
    items: deque[_Item] = field(default_factory=deque)
    running: int = 0
    is_listed: bool = False
    """Whether the endpoint is in a rotation, or waits for a shared slot."""


class EndpointQueues(Generic[_Item]):
    """`add` an item, `take` the next that may start, call `done` when it has ended. Keys are endpoint ids."""

    def __init__(
        self,
        running_max: int,
        endpoint_running_max: Callable[[Hashable], int],
        *,
        not_quick_running_max: int | None = None,
        unknown_running_max: int | None = None,
    ) -> None:
        """`endpoint_running_max`: how many items of an endpoint may run now; asked again before each is taken.
        `not_quick_running_max`: how many of all endpoints that are slow or unknown, together. `unknown_running_max`:
        how many of one endpoint of which nothing is known. None: no such limit.
        """
        self._running_max = running_max
        self._endpoint_running_max = endpoint_running_max
        self._not_quick_max = running_max if not_quick_running_max is None else not_quick_running_max
        self._unknown_max = running_max if unknown_running_max is None else unknown_running_max
        self._is_quick: dict[Hashable, bool] = {}
        self._slow_endpoints = 0
        self._not_quick_running = 0
        self._queues: dict[Hashable, _Queue[_Item]] = {}
        self._rotations: dict[bool, deque[Hashable]] = {True: deque(), False: deque()}
        """Endpoints that may start an item: the quick ones, and the others."""
        self._awaiting_shared_slot: deque[Hashable] = deque()
        """Endpoints that are not quick and could start an item, if `not_quick_running_max` were not reached."""
        self._takes = 0
        self.running = 0
        self.waiting = 0

    def add(self, key: Hashable, item: _Item) -> None:
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue()
        queue.items.append(item)
        self.waiting += 1
        self._list(key, queue)

    def take(self) -> tuple[Hashable, _Item] | None:
        """The next item that may start; it counts as running from here. None: nothing may start now."""
        while self.running < self._running_max and (rotation := self._next_rotation()):
            key = rotation.popleft()
            queue = self._queues.get(key)
            if queue is None:
                continue
            if not self.is_quick(key) and self._not_quick_running >= self._not_quick_max:
                self._awaiting_shared_slot.append(key)
                continue
            queue.is_listed = False
            if not self._may_start(key, queue):
                if not queue.running and not queue.items:
                    del self._queues[key]
                continue
            item = queue.items.popleft()
            queue.running += 1
            self.running += 1
            self._not_quick_running += not self.is_quick(key)
            self._takes += 1
            self.waiting -= 1
            self._list(key, queue)
            return key, item
        return None

    def done(self, key: Hashable) -> None:
        """An item that was taken from this queue has ended."""
        queue = self._queues[key]
        queue.running -= 1
        self.running -= 1
        if not self.is_quick(key):
            self._not_quick_running -= 1
            self._hand_out_shared_slots()
        if not queue.running and not queue.items:
            del self._queues[key]
        else:
            self._list(key, queue)

    def mark(self, key: Hashable, *, quick: bool) -> None:
        """Notes how the endpoint answers. It counts until it is marked again, also while the queue is empty."""
        known = self._is_quick.get(key)
        if known is quick:
            return
        self._slow_endpoints += (not quick) - (known is False)
        queue = self._queues.get(key)
        if queue is not None and quick is not (known is True):
            self._not_quick_running += -queue.running if quick else queue.running
        self._is_quick[key] = quick
        if len(self._is_quick) > KNOWN_MAX:
            self._forget_oldest()
        if quick and queue is not None and queue.is_listed and key in self._awaiting_shared_slot:
            self._awaiting_shared_slot.remove(key)
            self._rotations[True].append(key)
        self._hand_out_shared_slots()
        if queue is not None:
            self._list(key, queue)

    def is_quick(self, key: Hashable) -> bool:
        return self._is_quick.get(key, False)

    def is_slow(self, key: Hashable) -> bool:
        """Known to be slow. An endpoint of which nothing is known is not."""
        return self._is_quick.get(key) is False

    @property
    def slow_endpoints(self) -> int:
        return self._slow_endpoints

    def slow_waiting(self) -> list[Hashable]:
        """The slow endpoints with items that wait."""
        return [key for key, queue in self._queues.items() if queue.items and self.is_slow(key)]

    def count(self, key: Hashable) -> int:
        """How many items of this endpoint wait here or run."""
        queue = self._queues.get(key)
        return 0 if queue is None else queue.running + len(queue.items)

    def first_waiting(self, key: Hashable) -> _Item | None:
        queue = self._queues.get(key)
        return queue.items[0] if queue is not None and queue.items else None

    def longest(self) -> Hashable:
        """The endpoint with the most items that wait; None without queues."""
        return max(self._queues, key=lambda key: len(self._queues[key].items), default=None)

    def withdraw(self, key: Hashable) -> list[_Item]:
        """Takes out all items that wait in this queue; those that run go on."""
        queue = self._queues.get(key)
        if queue is None:
            return []
        items = list(queue.items)
        queue.items.clear()
        self.waiting -= len(items)
        if not queue.running and not queue.is_listed:
            del self._queues[key]
        return items

    def clear(self) -> list[_Item]:
        """Takes out all items that wait; those that run go on."""
        return [item for key in list(self._queues) for item in self.withdraw(key)]

    def _next_rotation(self) -> deque[Hashable] | None:
        """That of the quick endpoints, but now and then that of the others, which would not become known otherwise."""
        quick, others = self._rotations[True], self._rotations[False]
        if quick and (not others or self._takes % OTHERS_EVERY):
            return quick
        return others or None

    def _hand_out_shared_slots(self) -> None:
        """As many endpoints as there are free shared slots come back into the rotation."""
        for _ in range(min(len(self._awaiting_shared_slot), self._not_quick_max - self._not_quick_running)):
            self._rotations[False].append(self._awaiting_shared_slot.popleft())

    def _forget_oldest(self) -> None:
        """Unless it is in use."""
        key = next(iter(self._is_quick))
        known = self._is_quick.pop(key)
        if key in self._queues:
            self._is_quick[key] = known
        else:
            self._slow_endpoints -= not known

    def _list(self, key: Hashable, queue: _Queue[_Item]) -> None:
        if not queue.is_listed and self._may_start(key, queue):
            queue.is_listed = True
            self._rotations[self.is_quick(key)].append(key)

    def _may_start(self, key: Hashable, queue: _Queue[_Item]) -> bool:
        if not queue.items or (queue.running >= self._unknown_max and key not in self._is_quick):
            return False
        return queue.running < self._endpoint_running_max(key)
