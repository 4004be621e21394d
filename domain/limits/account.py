"""One bucket's account: what is free in it, how much each gateway accepted, and which gateways use it.

`room` is the free part of the whole bucket: it grows as the bucket drains, and each reported request is subtracted from
it. Gateways hold parts of it until the next allocation.
"""

from collections import deque
from dataclasses import dataclass, field

from domain.limits.decide import ROOM, Part, allocate, grown, is_pressed
from domain.limits.quotas import WHOLE_PPM, Quota
from schemas.records import Shares, Usage

DEMAND_MS = 1_000
DEMAND_PART = 10  # of the time in which the bucket drains: slow buckets are judged over longer
FORGET_MS = 30_000
"""A gateway's counts mean nothing any more when it did not use the bucket for so long."""


@dataclass
class Use:
    """One gateway's use of one bucket. `requests`: when and how many, of late."""

    accepted: int = 0
    room_milli: int = 0
    at_ms: int = 0
    requests: deque[tuple[int, int]] = field(default_factory=deque)

    def forget(self, until_ms: int) -> None:
        while self.requests and self.requests[0][0] <= until_ms:
            self.requests.popleft()

    def demand(self, since_ms: int) -> int:
        self.forget(since_ms)
        return sum(count for _, count in self.requests)


class BucketAccount:
    """One bucket. `room` is None until it is allocated for the first time: the gateways' own even parts add up to it
    till then.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.quota = Quota(1, 1)
        self.room: int | None = None
        self.room_ms = 0
        self.used_ms = 0
        self.uses: dict[str, Use] = {}
        self.allocated: Shares | None = None
        self.pressed = False

    def note(self, usage: Usage, at_ms: int, gateways: int) -> None:
        self.quota = Quota(max(1, usage.burst), max(1, usage.per_minute))
        use = self.uses.get(usage.gateway)
        # A gateway that is new here may have counted for long: then only its last step is known to be unaccounted.
        known = use is not None and usage.accepted >= use.accepted and at_ms - use.at_ms < FORGET_MS
        use = self.uses.setdefault(usage.gateway, Use())
        taken = usage.accepted - use.accepted if known else usage.taken
        if self.room is not None:
            self.room = max(-self.quota.burst * ROOM, self._room_at(self.room, at_ms) - taken * ROOM)
        use.accepted, use.room_milli, use.at_ms = usage.accepted, usage.room_milli, at_ms
        use.requests.append((at_ms, usage.taken + usage.refused))
        use.forget(at_ms - self._demand_ms())
        self.used_ms = at_ms
        share = self.share_of(usage.gateway, gateways)
        self.pressed |= is_pressed(usage.refused, usage.room_milli, self.quota, *share)

    def share_of(self, gateway: str, gateways: int) -> tuple[int, int]:
        """Its share and among how many, as the gateway knows it."""
        if self.allocated is None or gateway not in self.allocated.gateways:
            return WHOLE_PPM // max(1, gateways), max(1, gateways)
        return self.allocated.share_ppm[self.allocated.gateways.index(gateway)], len(self.allocated.gateways)

    def allocate(self, gateways: list[str], now_ms: int) -> Shares:
        self.room = self._even_rooms(gateways, now_ms) if self.room is None else self._room_at(self.room, now_ms)
        self.room_ms = now_ms
        since_ms = now_ms - self._demand_ms()
        parts = {gateway: self._part(self.uses.get(gateway), since_ms) for gateway in gateways}
        self.allocated = allocate(self.name, parts, self.room, now_ms)
        self.pressed = False
        return self.allocated

    def forget_silent(self, now_ms: int) -> None:
        self.uses = {gateway: use for gateway, use in self.uses.items() if now_ms - use.at_ms < FORGET_MS}

    def _room_at(self, room: int, now_ms: int) -> int:
        """And notes that it was reckoned up to then."""
        elapsed_ms, self.room_ms = now_ms - self.room_ms, now_ms
        return grown(room, self.quota, elapsed_ms)

    def _even_rooms(self, gateways: list[str], now_ms: int) -> int:
        """What the gateways have left of their even parts; one that did not use its part has all of it."""
        whole = self.quota.burst * ROOM
        used = [use for gateway in gateways if (use := self.uses.get(gateway)) is not None]
        rooms = [
            use.room_milli * ROOM // 1000 + self.quota.per_minute * (now_ms - use.at_ms) // len(gateways)
            for use in used
        ]
        parts = [min(room, whole // len(gateways)) for room in rooms]
        return sum(parts) + whole * (len(gateways) - len(used)) // len(gateways)

    def _demand_ms(self) -> int:
        return max(DEMAND_MS, self.quota.window_seconds * 1000 // DEMAND_PART)

    def _part(self, use: Use | None, since_ms: int) -> Part:
        return Part() if use is None else Part(use.demand(since_ms), use.accepted)
