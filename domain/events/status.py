"""An event's status, from its routes and their newest attempts. Projection stores it, the gateway shows it.

Sources: the Atlas Events document (lifecycle); A-046, A-053, X-17.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class EventStatus(StrEnum):
    """The status of an event over all its routes."""

    ACCEPTED = "accepted"
    PROCESSING = "processing"
    DELIVERED = "delivered"
    RETRIED = "retried"
    FAILED = "failed"


class RouteState(StrEnum):
    """A route's status as the API shows it: `queued`, then the status of the last recorded attempt. The API's documents
    also name `in_progress`, which no attempt has: attempts are recorded when they have ended.

    domain/delivery/states.py relates these to the states of a delivery.
    """

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    DELIVERED = "delivered"
    RETRY_SCHEDULED = "retry_scheduled"
    EXHAUSTED = "exhausted"
    DISABLED = "disabled"


_UNDER_WAY = frozenset({RouteState.QUEUED, RouteState.IN_PROGRESS})
_GIVEN_UP = frozenset({RouteState.EXHAUSTED, RouteState.DISABLED})


class AttemptState(NamedTuple):
    """The part of an attempt that decides the status; the fields are those of schemas.read_model.AttemptRow."""

    workflow_id: str
    replay: int
    attempt: int
    status: str
    received_ms: int


def status_of(routes: Iterable[str]) -> EventStatus:
    """The event's status from the states of its routes; the first rule that applies decides.

    `failed` means that no further attempt comes by itself. So a route that is still under way keeps the event
    `processing`, and a disabled route, which only its owner can reactivate, counts as an exhausted one.
    """
    states = frozenset(routes)
    if RouteState.RETRY_SCHEDULED in states:
        return EventStatus.RETRIED
    if states == {RouteState.QUEUED}:
        return EventStatus.ACCEPTED
    if states & _UNDER_WAY:
        return EventStatus.PROCESSING
    if states & _GIVEN_UP:
        return EventStatus.FAILED
    return EventStatus.DELIVERED


def event_status(routes: Iterable[str], received_ms: int, attempts: Iterable[AttemptState]) -> EventStatus:
    """`routes`: the event's own. `received_ms`: the time of its newest admission; only attempts of that one count.

    A route has the status of the last attempt of its last replay. Replays may reach other routes than the event's own.
    """
    newest = dict.fromkeys(routes, (-1, -1, str(RouteState.QUEUED)))
    for workflow_id, replay, attempt, status, of_ms in attempts:
        if of_ms in (0, received_ms):
            before = newest.get(workflow_id)
            if before is None or (replay, attempt) >= before[:2]:
                newest[workflow_id] = replay, attempt, status
    return status_of(state for _, _, state in newest.values())


def status_at_first(routes: Iterable[str]) -> EventStatus:
    """The status before any attempt: an event without routes is delivered at once (A-046)."""
    return EventStatus.ACCEPTED if any(True for _ in routes) else EventStatus.DELIVERED
