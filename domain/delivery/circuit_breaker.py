"""The circuit breaker of an endpoint: after many failures in a row it gets one attempt at a time, and seldom.

closed → open after `failures_max` failures in a row. open → half-open when the pause is over: ONE attempt probes the
endpoint. half-open → closed if the probe was answered; otherwise open again, with twice the pause, up to
`pause_max_ms`. After it has closed, each success allows one attempt more at once, up to the budget: a thousand waiting
deliveries do not hit an endpoint that has just recovered (F48). Until it has its whole budget again, one failure opens
the circuit.

Only failures of the endpoint itself count (no answer, 5xx, 429): a 404 shows that it works.
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
    """Mutable. Ask `running_max` before an attempt, call `start` when it begins and `end` with its result."""

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
        """Whether nothing is known against the endpoint."""
        return self.circuit is Circuit.CLOSED and not self._failures and self._allowed == self._limits.budget

    def running_max(self, now_ms: int) -> int:
        """How many attempts may run at once. The caller counts the one attempt of a half-open circuit itself."""
        if self.circuit is Circuit.CLOSED:
            return self._allowed
        return 1 if self.circuit is Circuit.HALF_OPEN or now_ms >= self._probes_at_ms else 0

    def start(self) -> int:
        """An attempt begins. Pass the returned value to `end`: attempts from before the circuit opened do not count."""
        if self.circuit is Circuit.OPEN:
            self.circuit = Circuit.HALF_OPEN
        return self._round

    def end(self, begun: int, *, answered: bool, now_ms: int) -> bool:
        """An attempt has ended. Returns whether that opened the circuit."""
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
