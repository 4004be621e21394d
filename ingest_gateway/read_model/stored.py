"""What the read model holds of one event, and what follows from it: routes, their states, the event's status.

Rows of docs/requirements.md: A-046, A-047, A-053, X-17.
"""

from dataclasses import dataclass

import msgspec

from domain.events.status import AttemptState, EventStatus, RouteState, event_status, status_of
from schemas.read_model import AttemptRow, EventRow

__all__ = ["RouteState", "StoredEvent", "status_of"]


@dataclass(frozen=True)
class StoredEvent:
    event: EventRow
    attempts: tuple[AttemptRow, ...]
    """Every attempt of every route and admission, in no particular order."""

    def status(self) -> EventStatus:
        """As the attempts say; the row's own `status` is the same, kept for the list."""
        attempts = (AttemptState(*(getattr(row, name) for name in AttemptState._fields)) for row in self.attempts)
        return event_status(self._own_routes(), self.event.received_ms, attempts)

    def routes(self) -> list[str]:
        """The event's own routes in their order, then those that only a replay reached, by first attempt."""
        others = sorted(self._of_newest_admission(), key=lambda row: (row.started_ms, row.workflow_id))
        return list(dict.fromkeys([*self._own_routes(), *(row.workflow_id for row in others)]))

    def newest(self) -> dict[str, AttemptRow]:
        """By route, the last attempt of the last replay of the newest admission."""
        in_order = sorted(self._of_newest_admission(), key=lambda row: (row.replay, row.attempt))
        return {row.workflow_id: row for row in in_order}

    def history(self) -> list[AttemptRow]:
        """Every attempt, route by route, oldest first within one."""
        position = {route: index for index, route in enumerate(self.routes())}

        def order(row: AttemptRow) -> tuple[int, str, int, int, int]:
            known = position.get(row.workflow_id, len(position))
            return known, row.workflow_id, row.received_ms, row.replay, row.attempt

        return sorted(self.attempts, key=order)

    def _own_routes(self) -> list[str]:
        return msgspec.json.decode(self.event.routes, type=list[str])

    def _of_newest_admission(self) -> list[AttemptRow]:
        return [row for row in self.attempts if row.received_ms in (0, self.event.received_ms)]
