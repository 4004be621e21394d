"""A circuit breaker an endpoint: when it fails again and again, it is asked one at a time, and seldom. Pure.

closed → open after `failures_max` failures in a row; open → half-open when the pause is over: ONE attempt probes it;
half-open → closed when the probe was answered, else open again with twice the pause, up to `pause_max_ms`. Closed
again it may run one attempt more for each that succeeds, up to its budget: a thousand waiting deliveries don't fall on
an endpoint that has just come back (F48). Until it has its whole budget again, one failure opens it.

Only failures of the endpoint as such count (no answer, 5xx, 429): a 404 says that it is there.
"""

from dataclasses import dataclass
from enum import StrEnum


class Circuit(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    budget: int = 32
    failures_max: int = 32
    pause_first_ms: int = 100
    pause_max_ms: int = 1_000


class Breaker:
    """`room` says how many attempts may run; `start` one, tell `end` what came of it."""

    __slots__ = ("_allowed", "_failures", "_limits", "_pause_ms", "_probes_at_ms", "_round", "circuit")

    def __init__(self, limits: BreakerLimits) -> None:
        self._limits = limits
        self._allowed = limits.budget
        self._failures = 0
        self._pause_ms = limits.pause_first_ms
        self._probes_at_ms = 0
        self._round = 0
        self.circuit = Circuit.CLOSED

    @property
    def probes_at_ms(self) -> int:
        """When an open circuit may be probed."""
        return self._probes_at_ms

    @property
    def is_fresh(self) -> bool:
        """Nothing is known against the endpoint."""
        return self.circuit is Circuit.CLOSED and not self._failures and self._allowed == self._limits.budget

    def room(self, now_ms: int) -> int:
        """How many attempts may run at once. The one of a half-open circuit is counted by whoever asks."""
        if self.circuit is Circuit.CLOSED:
            return self._allowed
        return 1 if self.circuit is Circuit.HALF_OPEN or now_ms >= self._probes_at_ms else 0

    def start(self) -> int:
        """An attempt begins. What it returns goes to `end`: attempts begun before the circuit opened say nothing."""
        if self.circuit is Circuit.OPEN:
            self.circuit = Circuit.HALF_OPEN
        return self._round

    def end(self, begun: int, *, answered: bool, now_ms: int) -> bool:
        """An attempt has ended. True when that opened the circuit."""
        if begun != self._round or self.circuit is Circuit.OPEN:
            return False
        if answered:
            self._succeed()
            return False
        self._failures += 1
        ramping = self._allowed < self._limits.budget
        if self.circuit is Circuit.HALF_OPEN or ramping or self._failures >= self._limits.failures_max:
            self._open(now_ms, again=self.circuit is Circuit.HALF_OPEN or ramping)
            return True
        return False

    def _succeed(self) -> None:
        self._failures = 0
        if self.circuit is Circuit.HALF_OPEN:
            self.circuit = Circuit.CLOSED
            self._allowed = 1
        self._allowed = min(self._limits.budget, self._allowed + 1)
        if self._allowed == self._limits.budget:
            self._pause_ms = self._limits.pause_first_ms

    def _open(self, now_ms: int, *, again: bool) -> None:
        if again:
            self._pause_ms = min(self._limits.pause_max_ms, 2 * self._pause_ms)
        self.circuit = Circuit.OPEN
        self._failures = 0
        self._round += 1
        self._probes_at_ms = now_ms + self._pause_ms
