"""Gateways and processors/rates in virtual time: the real pure parts, with a log between them that takes a while.

Time is nanoseconds from the fleet's start and moves by `until` alone. Requests come as a test says; who got which
answer, and when, stands in `accepted` and `refused`.
"""

import heapq
import itertools
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping

from domain.limits.ledger import Ledger
from domain.limits.quotas import EVENTS, Quota, RateClass
from ingest_gateway.limits.buckets import NS_PER_SECOND
from ingest_gateway.limits.exchange import HEARTBEAT_SECONDS, REPORT_SECONDS
from ingest_gateway.limits.limiter import Limiter
from schemas.records import SO_FAR, Usage

WORKSPACE = "ws_4F9KQ2C7Z1"
START_MS = 1_779_114_131_482
NS_PER_MS = 1_000_000
TO_THE_LEDGER_MS = (5, 60)
TO_THE_GATEWAY_MS = (3, 30)


class Fleet:
    def __init__(self, gateways: int, *, quota: Quota = EVENTS.quota, seed: int = 1) -> None:
        self.now_ns = 0
        self.quota = quota
        self.rate_class = RateClass("events", quota, by_environment=True)
        self.random = random.Random(seed)
        self.gateways: dict[str, Limiter] = {}
        self.accepted: list[int] = []
        self.refused: list[int] = []
        self.allocations = 0
        self.decides = True
        self._ledger = Ledger()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._paused: set[str] = set()
        for number in range(gateways):
            self.start(f"gateway-{number}")

    # What happens to gateways and to the processors

    def start(self, name: str) -> None:
        self.gateways[name] = Limiter(name, lambda *_place: self.quota)
        offset_ms = self.random.uniform(0, REPORT_SECONDS * 1000)
        self._in(0, lambda: self._beat(name))
        self._in(offset_ms, lambda: self._report(name))

    def kill(self, name: str) -> None:
        del self.gateways[name]

    def stop(self, name: str) -> None:
        self._tell(Usage(gateway=name, leaving=True))
        self.kill(name)

    def restart_processors(self) -> None:
        """All that they knew is gone."""
        self._ledger = Ledger()

    def set_quota(self, quota: Quota) -> None:
        self.quota = quota
        for limiter in self.gateways.values():
            limiter.quotas_changed()

    # Requests

    @property
    def now_seconds(self) -> float:
        return self.now_ns / NS_PER_SECOND

    def burst(self, name: str, requests: int) -> None:
        for _ in range(requests):
            self.send(name)

    def send(self, name: str) -> None:
        granted, _entry = self.gateways[name].take(self.rate_class, WORKSPACE, "live", self.now_ns)
        (self.accepted if granted else self.refused).append(self.now_ns)

    def load(self, rates: Mapping[str, float], seconds: float) -> None:
        """Requests a second at each gateway, at random moments (Poisson), for so long from now; time moves on."""
        until_ns = self.now_ns + round(seconds * NS_PER_SECOND)
        for name, rate in rates.items():
            at_ns = float(self.now_ns)
            while rate > 0 and (at_ns := at_ns + self.random.expovariate(rate) * NS_PER_SECOND) < until_ns:
                self._at(round(at_ns), lambda name=name: self.send(name))  # type: ignore[misc]
        self.until(until_ns)

    def idle(self, seconds: float) -> None:
        self.load({}, seconds)

    def until(self, end_ns: int) -> None:
        while self._due and self._due[0][0] <= end_ns:
            self.now_ns, _, action = heapq.heappop(self._due)
            action()
        self.now_ns = end_ns

    def accepted_within(self, from_seconds: float, seconds: float) -> int:
        """Requests accepted in [from, from + seconds)."""
        first, last = round(from_seconds * NS_PER_SECOND), round((from_seconds + seconds) * NS_PER_SECOND)
        return bisect_left(self.accepted, last) - bisect_left(self.accepted, first)

    def most_within(self, seconds: float) -> int:
        """The largest number accepted in any span of that length."""
        span_ns = round(seconds * NS_PER_SECOND)
        return max(bisect_right(self.accepted, at + span_ns) - i for i, at in enumerate(self.accepted))

    # The log between them

    def _report(self, name: str) -> None:
        limiter = self.gateways.get(name)
        if limiter is not None:
            for usage in limiter.reports(self.now_ns):
                self._tell(usage)
            limiter.forget_idle(self.now_ns)
            self._in(REPORT_SECONDS * 1000, lambda: self._report(name))

    def _beat(self, name: str) -> None:
        if name in self.gateways:
            self._tell(Usage(gateway=name))
            self._in(HEARTBEAT_SECONDS * 1000, lambda: self._beat(name))

    def _tell(self, usage: Usage) -> None:
        value = usage.encode()
        self._in(self.random.uniform(*TO_THE_LEDGER_MS), lambda: self._note(Usage.decode(value)))

    def _note(self, usage: Usage) -> None:
        if not self.decides:
            return
        self._ledger.note(usage, START_MS + self.now_ns // NS_PER_MS)
        for bucket, shares in self._ledger.allocated():
            self.allocations += 1
            for name in self.gateways:
                delay_ms = self.random.uniform(*TO_THE_GATEWAY_MS)
                self._in(delay_ms, lambda n=name, b=bucket, s=shares: self._apply(n, b, s))  # type: ignore[misc]

    def _apply(self, name: str, bucket: str, shares) -> None:  # type: ignore[no-untyped-def]
        limiter = self.gateways.get(name)
        if limiter is None:
            return
        if shares is None:
            limiter.forget(bucket)
        elif not bucket:
            limiter.note_gateways(0, shares.gateways, so_far=shares.dealt_ms == SO_FAR)
        else:
            limiter.apply(shares, self.now_ns)

    def _in(self, delay_ms: float, action: Callable[[], None]) -> None:
        self._at(self.now_ns + round(delay_ms * NS_PER_MS), action)

    def _at(self, at_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at_ns, next(self._order), action))
