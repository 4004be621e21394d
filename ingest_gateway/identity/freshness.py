"""How old a gateway's view of keys may be (F39).

While the broker can't be asked, a key that somebody revoked still works here. `/readyz` says so within seconds
(ingest_gateway/health.py); beyond the bound of the settings, operations that show or change what a workspace is set up
with are refused. Events are still taken and looked up: taking them needs the broker anyway.
"""

from collections.abc import Collection
from typing import Protocol

from domain.security.principals import (
    AI_USE,
    EVENTS_READ,
    EVENTS_WRITE,
    PROJECTS_READ,
    PROJECTS_WRITE,
    TASKS_READ,
    TASKS_WRITE,
)
from ingest_gateway.http.errors import ErrorKind, Refused

ORDINARY_SCOPES = frozenset({EVENTS_READ, EVENTS_WRITE, PROJECTS_READ, PROJECTS_WRITE, TASKS_READ, TASKS_WRITE, AI_USE})
MESSAGE = "The service can't be sure who may do this now. Please try again."


class View(Protocol):
    @property
    def behind_seconds(self) -> float: ...


def is_privileged(scopes: Collection[str]) -> bool:
    return not ORDINARY_SCOPES.issuperset(scopes)


def require_current(view: View, behind_seconds_max: float) -> None:
    """Raises Refused (UNAVAILABLE)."""
    if view.behind_seconds > behind_seconds_max:
        raise Refused(ErrorKind.UNAVAILABLE, MESSAGE)
