"""One leaky bucket, or a gateway's share of one. Pure: time is an argument, in nanoseconds of any steady clock.

It is kept as room: what the bucket would take at once. Room grows as the bucket drains, up to its depth, and a request
takes one request's worth. Amounts are whole numbers of a unit so small (a request is 6·10^16) that no rate and no share
of one is ever rounded; only a share of the depth is, downwards, by less than a unit.
"""

from dataclasses import dataclass

from domain.limits.quotas import MINUTE_SECONDS, WHOLE_PPM, Quota, burst_ppm

NS_PER_SECOND = 1_000_000_000
MINUTE_NS = MINUTE_SECONDS * NS_PER_SECOND
REQUEST = MINUTE_NS * WHOLE_PPM
"""One request's worth, in what the least share of one request a minute drains in a nanosecond."""


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
        """Room that comes with each nanosecond."""
        return self.quota.per_minute * max(1, self.share_ppm)

    @property
    def hoped_growth(self) -> int:
        """The same once the gateways' shares are even at least: a share that is small grows as soon as it is needed."""
        return self.quota.per_minute * max(self.share_ppm, WHOLE_PPM // self.gateways, 1)

    @property
    def depth(self) -> int:
        """Never less than a request: a bucket that can't take one would never say that it is wanted."""
        return max(REQUEST, self.quota.burst * MINUTE_NS * burst_ppm(self.share_ppm, self.gateways))


class Bucket:
    """`accepted` and `refused` count from the beginning. Times given must not go back."""

    __slots__ = (
        "_at_ns",
        "_depth",
        "_growth",
        "_hoped_growth",
        "_room",
        "accepted",
        "refused",
        "terms",
    )

    def __init__(self, terms: Terms, now_ns: int) -> None:
        """A bucket with nothing in it."""
        self.accepted = 0
        self.refused = 0
        self._at_ns = now_ns
        self._set(terms)
        self._room = self._depth

    def take(self, now_ns: int) -> bool:
        """Whether one more request fits now; it is in the bucket then."""
        room = self._room + (now_ns - self._at_ns) * self._growth
        if room > self._depth:
            room = self._depth
        self._at_ns = now_ns
        if room < REQUEST:
            self._room = room
            self.refused += 1
            return False
        self._room = room - REQUEST
        self.accepted += 1
        return True

    def change(self, terms: Terms, now_ns: int, room_milli: int | None = None) -> None:
        """From now on under these terms. The room stays, as far as the depth allows, or is what is given."""
        room = self._room_at(now_ns) if room_milli is None else room_milli * REQUEST // 1000
        self._at_ns = now_ns
        self._set(terms)
        self._room = min(room, self._depth)

    def is_empty(self, now_ns: int) -> bool:
        """Nothing is in it: it is as good as a new one."""
        return self._room_at(now_ns) == self._depth

    def room_milli(self, now_ns: int) -> int:
        """Thousandths of requests that fit now."""
        return self._room_at(now_ns) * 1000 // REQUEST

    # As of the last `take` or `change`

    def standing(self) -> tuple[int, int]:
        """Requests that fit at once, and nanoseconds until nothing is in it any more."""
        room = self._room
        return (room // REQUEST if room > 0 else 0), (self._depth - room + self._hoped_growth - 1) // self._hoped_growth

    @property
    def retry_ns(self) -> int:
        """Until one more request fits; 0 when one does."""
        return max(0, -((self._room - REQUEST) // self._hoped_growth))

    def _room_at(self, now_ns: int) -> int:
        return min(self._depth, self._room + (now_ns - self._at_ns) * self._growth)

    def _set(self, terms: Terms) -> None:
        self.terms = terms
        self._depth, self._growth, self._hoped_growth = terms.depth, terms.growth, terms.hoped_growth
