"""An event's status by its routes and their newest attempts. Pure: projection keeps it, the gateway shows it.

Sources: the Atlas Events document (lifecycle); A-046, A-053, X-17.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


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


class AttemptState(NamedTuple):
    """What counts of an attempt here; the fields are those of schemas.read_model.AttemptRow."""

    workflow_id: str
    replay: int
    attempt: int
    status: str
    received_ms: int


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


def event_status(routes: Iterable[str], received_ms: int, attempts: Iterable[AttemptState]) -> Status:
    """`routes`: the event's own; `received_ms`: of its newest admission, whose attempts alone count.

    A route stands where the last attempt of its last replay stands; replays may reach routes beside the event's own.
    """
    newest = dict.fromkeys(routes, (-1, -1, str(RouteState.QUEUED)))
    for workflow_id, replay, attempt, status, of_ms in attempts:
        if of_ms in (0, received_ms):
            before = newest.get(workflow_id)
            if before is None or (replay, attempt) >= before[:2]:
                newest[workflow_id] = replay, attempt, status
    return status_of(state for _, _, state in newest.values())


def status_at_first(routes: Iterable[str]) -> Status:
    """Before any attempt: an event without routes is delivered at once (A-046)."""
    return Status.ACCEPTED if any(True for _ in routes) else Status.DELIVERED
