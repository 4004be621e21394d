"""Whether an endpoint may be sent to now: its circuit breaker, and whether it is disabled.

These are states of an endpoint, not of a delivery: they are why its deliveries wait (`WaitReason.CIRCUIT` and
`WaitReason.REACTIVATION`, states.py).
"""

from collections.abc import Hashable

from domain.delivery.circuit_breaker import Breaker, BreakerLimits, Circuit
from domain.entities.control_view import ControlView
from schemas.entities import Ordering, Target


class EndpointGate:
    """One endpoint. `answered_410`: the workflow's state when it answered 410; the endpoint is disabled until `control`
    has a newer state.
    """

    __slots__ = ("answered_410", "breaker")

    def __init__(self, limits: BreakerLimits) -> None:
        self.breaker = Breaker(limits)
        self.answered_410: Target | None = None


class EndpointGates:
    """By endpoint id. Mutable: has a gate only for endpoints in use, or with something known against them."""

    def __init__(self, view: ControlView, limits: BreakerLimits) -> None:
        self._view = view
        self._limits = limits
        self._gates: dict[str, EndpointGate] = {}

    def of(self, endpoint_id: str) -> EndpointGate:
        gate = self._gates.get(endpoint_id)
        if gate is None:
            gate = self._gates[endpoint_id] = EndpointGate(self._limits)
        return gate

    def running_max(self, endpoint_id: Hashable, now_ms: int) -> int:
        """How many attempts of this endpoint may run at once."""
        gate = self._gates.get(str(endpoint_id))
        return self._limits.budget if gate is None else gate.breaker.running_max(now_ms)

    def probes_at_ms(self, endpoint_id: str, now_ms: int) -> int | None:
        """When an open circuit may be probed; None if attempts may run."""
        gate = self._gates.get(endpoint_id)
        if gate is None or gate.breaker.running_max(now_ms) > 0:
            return None
        return gate.breaker.probes_at_ms

    def is_closed(self, endpoint_id: str) -> bool:
        """Whether its circuit is closed: the good state."""
        gate = self._gates.get(endpoint_id)
        return gate is None or gate.breaker.circuit is Circuit.CLOSED

    def is_disabled(self, endpoint_id: str) -> bool:
        workflow = self._view.targets.get(endpoint_id)
        if workflow is None:
            return False
        gate = self._gates.get(endpoint_id)
        if gate is not None and gate.answered_410 is not None:
            if gate.answered_410 is workflow:
                return True
            gate.answered_410 = None
        return workflow.disabled_ms is not None

    def is_ordered(self, endpoint_id: str) -> bool:
        workflow = self._view.targets.get(endpoint_id)
        return workflow is not None and workflow.ordering is Ordering.PER_KEY

    def open_circuits(self) -> int:
        return sum(gate.breaker.circuit is not Circuit.CLOSED for gate in self._gates.values())

    def forget(self, endpoint_id: str) -> None:
        """Drops the gate if nothing is known against the endpoint."""
        gate = self._gates.get(endpoint_id)
        if gate is not None and gate.breaker.is_fresh and gate.answered_410 is None:
            del self._gates[endpoint_id]
