"""Failed attempts to authenticate, counted for each address; past the limit an address gets 429 for them (A9).

Tokens have 100 random bits and more, so what a limit saves is work and log lines. A good credential is therefore never
held back, even where failing callers share its address. The table is bounded: the address that failed longest ago is
forgotten.
"""

from collections import OrderedDict

from domain.security.networks import site_of

BURST = 60
PER_SECOND = 1.0
ADDRESSES_MAX = 10_000


class FailedAttempts:
    """A leaky bucket an address; IPv6 addresses of one /64 are one. Times are seconds of any steady clock."""

    def __init__(self, addresses_max: int = ADDRESSES_MAX) -> None:
        self._addresses_max = addresses_max
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def wait_seconds(self, address: str, now_seconds: float) -> float:
        """0 while the address may fail once more, else after how long."""
        return self._wait(site_of(address), now_seconds)

    def count(self, address: str, now_seconds: float) -> float:
        """One more failed attempt. Counts it and returns 0 where one more is allowed, else the time until it is."""
        site = site_of(address)
        wait_seconds = self._wait(site, now_seconds)
        if wait_seconds == 0:
            self._levels[site] = (self._level(site, now_seconds) + 1, now_seconds)
            self._levels.move_to_end(site)
            if len(self._levels) > self._addresses_max:
                self._levels.popitem(last=False)
        return wait_seconds

    def _wait(self, site: str, now_seconds: float) -> float:
        return max(0.0, (self._level(site, now_seconds) + 1 - BURST) / PER_SECOND)

    def _level(self, site: str, now_seconds: float) -> float:
        level, at_seconds = self._levels.get(site, (0.0, now_seconds))
        return max(0.0, level - (now_seconds - at_seconds) * PER_SECOND)
