"""One leaky bucket, or a gateway's part of one. Mutable; time is an argument, in nanoseconds of any steady clock.

It is kept as free capacity: what the bucket would take at once. That grows as the bucket drains, up to its depth, and a
request takes one request's worth. Amounts are whole numbers of a unit so small (a request is 6·10^16) that no rate and
no part of one is ever rounded; only a part of the depth is, downwards, by less than a unit.
"""

from dataclasses import dataclass

from domain.limits.quotas import MINUTE_SECONDS, WHOLE_PPM, Quota, burst_ppm

NS_PER_SECOND = 1_000_000_000
MINUTE_NS = MINUTE_SECONDS * NS_PER_SECOND
REQUEST = MINUTE_NS * WHOLE_PPM
"""One request's worth. The unit is what the smallest part of one request a minute drains in a nanosecond."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a gateway may use of a quota: `share_ppm` of its rate, as one of so many gateways."""

    quota: Quota
    share_ppm: int = WHOLE_PPM
    gateways: int = 1

    @property
    def is_whole(self) -> bool:
        return self.gateways == 1

    @property
    def growth(self) -> int:
        """Capacity that becomes free with each nanosecond."""
        return self.quota.per_minute * max(1, self.share_ppm)

    @property
    def hoped_growth(self) -> int:
        """The same once the gateways' parts are at least even: a small part grows as soon as it is needed."""
        return self.quota.per_minute * max(self.share_ppm, WHOLE_PPM // self.gateways, 1)

    @property
    def depth(self) -> int:
        """Never less than a request: a bucket that can't take one would never report demand."""
        return max(REQUEST, self.quota.burst * MINUTE_NS * burst_ppm(self.share_ppm, self.gateways))


class Bucket:
    """`accepted` and `refused` count from the beginning. Times given must not go back."""

    __slots__ = (
        "_at_ns",
        "_depth",
        "_free",
        "_growth",
        "_hoped_growth",
        "accepted",
        "refused",
        "terms",
    )

    def __init__(self, terms: Terms, now_ns: int) -> None:
        """An empty bucket."""
        self.accepted = 0
        self.refused = 0
        self._at_ns = now_ns
        self._set(terms)
        self._free = self._depth

    def take(self, now_ns: int) -> bool:
        """Whether one more request fits now; it is in the bucket then."""
        free = self._free + (now_ns - self._at_ns) * self._growth
        if free > self._depth:
            free = self._depth
        self._at_ns = now_ns
        if free < REQUEST:
            self._free = free
            self.refused += 1
            return False
        self._free = free - REQUEST
        self.accepted += 1
        return True

    def change(self, terms: Terms, now_ns: int, room_milli: int | None = None) -> None:
        """From now on under these terms. The free capacity stays, up to the new depth, or is `room_milli`."""
        free = self._free_at(now_ns) if room_milli is None else room_milli * REQUEST // 1000
        self._at_ns = now_ns
        self._set(terms)
        self._free = min(free, self._depth)

    def is_empty(self, now_ns: int) -> bool:
        """Nothing is in it: it is as good as a new one."""
        return self._free_at(now_ns) == self._depth

    def room_milli(self, now_ns: int) -> int:
        """Thousandths of requests that fit now."""
        return self._free_at(now_ns) * 1000 // REQUEST

    # As of the last `take` or `change`

    def standing(self) -> tuple[int, int]:
        """Requests that fit at once, and nanoseconds until nothing is in it any more."""
        free = self._free
        return (free // REQUEST if free > 0 else 0), (self._depth - free + self._hoped_growth - 1) // self._hoped_growth

    @property
    def retry_ns(self) -> int:
        """Until one more request fits; 0 when one does."""
        return max(0, -((self._free - REQUEST) // self._hoped_growth))

    def _free_at(self, now_ns: int) -> int:
        return min(self._depth, self._free + (now_ns - self._at_ns) * self._growth)

    def _set(self, terms: Terms) -> None:
        self.terms = terms
        self._depth, self._growth, self._hoped_growth = terms.depth, terms.growth, terms.hoped_growth
