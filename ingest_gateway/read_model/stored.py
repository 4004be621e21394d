"""What the read model holds of one event, and what follows from it: routes, their states, the event's status.

Pure. Status is derived, never stored. Sources: seeds/000 (lifecycle); DECISIONS A-046, A-047, A-053, X-17.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from schemas.read_model import AttemptRow, EventRow


class Status(StrEnum):
    """An event's, over all its routes."""

    ACCEPTED = "accepted"
    PROCESSING = "processing"
    DELIVERED = "delivered"
    RETRIED = "retried"
    FAILED = "failed"


class RouteState(StrEnum):
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    DELIVERED = "delivered"
    RETRY_SCHEDULED = "retry_scheduled"
    EXHAUSTED = "exhausted"
    DISABLED = "disabled"


_UNDER_WAY = frozenset({RouteState.QUEUED, RouteState.IN_PROGRESS})
_GIVEN_UP = frozenset({RouteState.EXHAUSTED, RouteState.DISABLED})


def status_of(routes: Iterable[str]) -> Status:
    """The event's status by the states of its routes; the first rule that fits holds.

    `failed` says that no further attempt comes by itself, so a route still under way keeps the event `processing`,
    and a disabled one, which only its owner can bring back, counts like an exhausted one.
    """
    states = frozenset(routes)
    if RouteState.RETRY_SCHEDULED in states:
        return Status.RETRIED
    if states == {RouteState.QUEUED}:
        return Status.ACCEPTED
    if states & _UNDER_WAY:
        return Status.PROCESSING
    if states & _GIVEN_UP:
        return Status.FAILED
    return Status.DELIVERED


@dataclass(frozen=True)
class StoredEvent:
    event: EventRow
    attempts: tuple[AttemptRow, ...]
    """Every attempt of every route and admission, in no particular order."""

    def status(self) -> Status:
        newest = self.newest()
        return status_of(newest[route].status if route in newest else RouteState.QUEUED for route in self.routes())

    def routes(self) -> list[str]:
        """The event's own routes in their order, then those that a replay reached beside them, by first attempt."""
        own = msgspec.json.decode(self.event.routes, type=list[str])
        others = sorted(self._of_newest_admission(), key=lambda row: (row.started_ms, row.workflow_id))
        return list(dict.fromkeys([*own, *(row.workflow_id for row in others)]))

    def newest(self) -> dict[str, AttemptRow]:
        """By route, the last attempt of the last replay of the newest admission."""
        in_order = sorted(self._of_newest_admission(), key=lambda row: (row.replay, row.attempt))
        return {row.workflow_id: row for row in in_order}

    def history(self) -> list[AttemptRow]:
        """Every attempt, route by route, oldest first within one."""
        place = {route: index for index, route in enumerate(self.routes())}

        def order(row: AttemptRow) -> tuple[int, str, int, int, int]:
            known = place.get(row.workflow_id, len(place))
            return known, row.workflow_id, row.received_ms, row.replay, row.attempt

        return sorted(self.attempts, key=order)

    def _of_newest_admission(self) -> list[AttemptRow]:
        return [row for row in self.attempts if row.received_ms in (0, self.event.received_ms)]
