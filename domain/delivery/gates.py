"""Whether an endpoint may be sent to now: its circuit breaker, and whether it is disabled."""

from collections.abc import Hashable

from domain.delivery.circuit_breaker import Breaker, BreakerLimits, Circuit
from domain.entities.control_view import ControlView
from schemas.entities import Ordering, Target


class Gate:
    """One endpoint's. `answered_410`: the state that got a 410; it is disabled until `control` has a newer one."""

    __slots__ = ("answered_410", "breaker")

    def __init__(self, limits: BreakerLimits) -> None:
        self.breaker = Breaker(limits)
        self.answered_410: Target | None = None


class Gates:
    """By lane. Only endpoints against which something is known, or which are in use, have one."""

    def __init__(self, view: ControlView, limits: BreakerLimits) -> None:
        self._view = view
        self._limits = limits
        self._gates: dict[str, Gate] = {}

    def of(self, lane: str) -> Gate:
        gate = self._gates.get(lane)
        if gate is None:
            gate = self._gates[lane] = Gate(self._limits)
        return gate

    def room(self, lane: Hashable, now_ms: int) -> int:
        """How many attempts of this endpoint may run at once."""
        gate = self._gates.get(str(lane))
        return self._limits.budget if gate is None else gate.breaker.room(now_ms)

    def probes_at_ms(self, lane: str, now_ms: int) -> int | None:
        """Of an open circuit, when it may be probed; None where attempts may run."""
        gate = self._gates.get(lane)
        if gate is None or gate.breaker.room(now_ms) > 0:
            return None
        return gate.breaker.probes_at_ms

    def is_closed(self, lane: str) -> bool:
        """Its circuit: closed is the good state."""
        gate = self._gates.get(lane)
        return gate is None or gate.breaker.circuit is Circuit.CLOSED

    def is_disabled(self, lane: str) -> bool:
        workflow = self._view.targets.get(lane)
        if workflow is None:
            return False
        gate = self._gates.get(lane)
        if gate is not None and gate.answered_410 is not None:
            if gate.answered_410 is workflow:
                return True
            gate.answered_410 = None
        return workflow.disabled_ms is not None

    def is_ordered(self, lane: str) -> bool:
        workflow = self._view.targets.get(lane)
        return workflow is not None and workflow.ordering is Ordering.PER_KEY

    def open_circuits(self) -> int:
        return sum(gate.breaker.circuit is not Circuit.CLOSED for gate in self._gates.values())

    def forget(self, lane: str) -> None:
        """Where nothing is known against it."""
        gate = self._gates.get(lane)
        if gate is not None and gate.breaker.is_fresh and gate.answered_410 is None:
            del self._gates[lane]
