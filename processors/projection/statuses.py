"""Keeps `events.status` what the attempts say (schemas/event_status.py), within the transaction that wrote them.

An event without attempts has its first status from its own row, so only those with attempts are looked at. A status
that stays as it is is not written.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from schemas.event_status import AttemptState, event_status

Scope = tuple[str, str]
IDS_MAX = 5_000
AMONG_IDS = {"sqlite": "IN (SELECT value FROM json_each(:ids))", "postgresql": "= ANY(CAST(:ids AS text[]))"}
"""`id …` for a list of ids, by dialect; `listed_ids` makes its parameter."""
_COLUMNS = "e.id, e.status, e.routes, e.received_ms, a.workflow_id, a.replay, a.attempt, a.status, a.received_ms"
_OF_SCOPE = "workspace = :workspace AND environment = :environment"
_BY_KEY = (
    "unnest(CAST(:ids AS text[])) AS k (id) CROSS JOIN LATERAL (SELECT *, ctid AS place FROM events"
    f" WHERE {_OF_SCOPE} AND id >= k.id AND id <= k.id ORDER BY id LIMIT 1) AS e"
)
_ATTEMPTS = {
    "sqlite": f"SELECT {_COLUMNS} FROM json_each(:ids) AS k CROSS JOIN events AS e CROSS JOIN attempts AS a"
    " WHERE e.workspace = :workspace AND e.environment = :environment AND e.id = k.value"
    " AND a.workspace = :workspace AND a.environment = :environment AND a.event_id = e.id",
    "postgresql": f"SELECT {_COLUMNS} FROM {_BY_KEY}"
    f" CROSS JOIN LATERAL (SELECT * FROM attempts WHERE {_OF_SCOPE} AND event_id = e.id OFFSET 0) AS a",
}
"""One row an attempt. Written so that both databases go from the ids to the rows by their keys, whatever statistics
say: joined freely, each id costs a look at all attempts, or at all events of the workspace, while tables are young.
"""
_SET = {
    "sqlite": f"UPDATE events SET status = :status WHERE {_OF_SCOPE} AND id {AMONG_IDS['sqlite']}",
    "postgresql": f"UPDATE events SET status = :status WHERE ctid = ANY(ARRAY(SELECT place FROM {_BY_KEY}))",
}


def listed_ids(dialect: str, ids: list[str]) -> object:
    return msgspec.json.encode(ids).decode() if dialect == "sqlite" else ids


class Statuses:
    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._attempts = text(_ATTEMPTS[dialect])
        self._set = text(_SET[dialect])

    def refresh(self, connection: Connection, touched: Iterable[tuple[str, str, str]]) -> None:
        """`touched`: workspace, environment and id of events; some may not be there (yet)."""
        by_scope: dict[Scope, dict[str, None]] = defaultdict(dict)
        for workspace, environment, event_id in touched:
            by_scope[workspace, environment][event_id] = None
        for scope, ids in by_scope.items():
            every = list(ids)
            for at in range(0, len(every), IDS_MAX):
                self._refresh(connection, scope, every[at : at + IDS_MAX])

    def _refresh(self, connection: Connection, scope: Scope, ids: list[str]) -> None:
        workspace, environment = scope
        parameters = {"workspace": workspace, "environment": environment}
        rows = connection.execute(self._attempts, {**parameters, "ids": listed_ids(self._dialect, ids)})
        for status, changed in _changed(rows).items():
            chosen = {"status": status, "ids": listed_ids(self._dialect, changed)}
            connection.execute(self._set, parameters | chosen)


def _changed(rows: Iterable[Any]) -> dict[str, list[str]]:
    """The ids of events whose status is another now, by that status."""
    events: dict[str, tuple[str, str, int]] = {}
    attempts: dict[str, list[AttemptState]] = defaultdict(list)
    for event_id, status, routes, received_ms, *attempt in rows:
        events[event_id] = status, routes, received_ms
        attempts[event_id].append(AttemptState(*attempt))
    changed: dict[str, list[str]] = defaultdict(list)
    for event_id, (before, routes, received_ms) in events.items():
        status = event_status(_routes(routes), received_ms, attempts[event_id])
        if status != before:
            changed[str(status)].append(event_id)
    return changed


@lru_cache(maxsize=4_096)
def _routes(document: str) -> tuple[str, ...]:
    return msgspec.json.decode(document, type=tuple[str, ...])
