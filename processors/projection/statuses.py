"""Keeps `events.status` what the attempts say (schemas/event_status.py), within the transaction that writes both.

An event that comes with its attempts, or after them, is written with its status (`settled`): most of those that are
read in bulk. An event that is there already gets it when attempts come (`refresh`); one that stays as it is is not
written. Ids are asked for as a list, by statements that go from the ids to the rows by their keys whatever the
databases' statistics say: joined freely, each id costs a look at all attempts while tables are young.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from processors.projection.changes import Row
from schemas.event_status import AttemptState, event_status
from schemas.read_model import AttemptRow, EventRow

IDS_MAX = 5_000
AMONG_IDS = {"sqlite": "IN (SELECT value FROM json_each(:ids))", "postgresql": "= ANY(CAST(:ids AS text[]))"}
"""`id …` for a list of ids, by dialect; `listed_ids` makes its parameter."""
_OF_ATTEMPT = "a.delivery_id, a.attempt, a.log_offset, a.workflow_id, a.replay, a.status, a.received_ms"
_STORED = {
    "sqlite": f"SELECT a.event_id, {_OF_ATTEMPT} FROM json_each(:ids) AS k CROSS JOIN attempts AS a"
    " WHERE a.event_id = k.value",
    "postgresql": f"SELECT a.event_id, {_OF_ATTEMPT} FROM unnest(CAST(:ids AS text[])) AS k (id)"
    " CROSS JOIN LATERAL (SELECT * FROM attempts WHERE event_id = k.id OFFSET 0) AS a",
}
_BY_KEY = (
    "unnest(CAST(:ids AS text[])) AS k (id) CROSS JOIN LATERAL"
    " (SELECT *, ctid AS place FROM events WHERE id >= k.id AND id <= k.id ORDER BY id LIMIT 1) AS e"
)
_SHOWN = {
    "sqlite": "SELECT e.id, e.status, e.routes, e.received_ms FROM json_each(:ids) AS k CROSS JOIN events AS e"
    " WHERE e.id = k.value",
    "postgresql": f"SELECT e.id, e.status, e.routes, e.received_ms FROM {_BY_KEY}",
}
_SET = {
    "sqlite": f"UPDATE events SET status = :status WHERE id {AMONG_IDS['sqlite']}",
    "postgresql": f"UPDATE events SET status = :status WHERE ctid = ANY(ARRAY(SELECT place FROM {_BY_KEY}))",
}
_ID, _RECEIVED, _ROUTES, _STATUS, _SCOPE = map(
    EventRow._fields.index, ("id", "received_ms", "routes", "status", "scope")
)
assert EventRow._fields[_STATUS + 1 :] == ("scope", "number"), "`settled` writes them last"
_EVENT_ID, _OF_MS, _OFFSET = map(AttemptRow._fields.index, ("event_id", "received_ms", "log_offset"))
_DELIVERY, _ATTEMPT = map(AttemptRow._fields.index, ("delivery_id", "attempt"))
_WORKFLOW, _REPLAY, _STATE = map(AttemptRow._fields.index, ("workflow_id", "replay", "status"))

States = dict[tuple[str, int], tuple[int, int, tuple[str, int, int, str]]]
"""Of one event, by delivery and attempt: where it stands on its partition of `outcomes`, of which admission it is
(`received_ms`), and what it came to: workflow, replay, attempt, state.
"""


def listed_ids(dialect: str, ids: Collection[str]) -> object:
    return msgspec.json.encode(ids).decode() if dialect == "sqlite" else list(ids)


class Statuses:
    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._stored, self._shown, self._set = (text(by_dialect[dialect]) for by_dialect in (_STORED, _SHOWN, _SET))

    def settled(
        self, connection: Connection, events: list[Row], attempts: Sequence[Row], first_number: int
    ) -> tuple[list[Row], set[str]]:
        """The events as these attempts and stored ones make them, numbered on; asked before the transaction writes.

        And the ids of events whose status must be looked at again when all is written: those that are not among these
        events, or may have been admitted once more.
        """
        found = self._states(connection, {event[_ID] for event in events})
        arriving = _by_event(attempts)
        done = []
        for number, event in enumerate(events, first_number):
            event_id, received_ms, status = event[_ID], event[_RECEIVED], event[_STATUS]
            of_event = arriving.get(event_id)
            if event_id in found or type(of_event) is list:
                status = _status(event[_ROUTES], received_ms, _merged(found.get(event_id), of_event))
            elif of_event is not None and of_event[_OF_MS] in (0, received_ms):
                state = of_event[_WORKFLOW], of_event[_REPLAY], of_event[_ATTEMPT], of_event[_STATE]
                status = _status_of(event[_ROUTES], (state,))
            done.append((*event[:_STATUS], status, event[_SCOPE], number))
        admitted = {event[_ID]: event[_RECEIVED] for event in events}
        again = {attempt[_EVENT_ID] for attempt in attempts if attempt[_OF_MS] != admitted.get(attempt[_EVENT_ID])}
        return done, again

    def refresh(self, connection: Connection, ids: Iterable[str]) -> None:
        """Looks at these events, some of which may not be there (yet)."""
        every = list(ids)
        for at in range(0, len(every), IDS_MAX):
            self._refresh(connection, every[at : at + IDS_MAX])

    def _refresh(self, connection: Connection, ids: list[str]) -> None:
        shown = connection.execute(self._shown, {"ids": listed_ids(self._dialect, ids)}).all()
        states = self._states(connection, [row[0] for row in shown])
        changed: dict[str, list[str]] = defaultdict(list)
        for event_id, before, routes, received_ms in shown:
            status = _status(routes, received_ms, states.get(event_id, {}))
            if status != before:
                changed[status].append(event_id)
        for status, of_status in changed.items():
            connection.execute(self._set, {"status": status, "ids": listed_ids(self._dialect, of_status)})

    def _states(self, connection: Connection, ids: Collection[str]) -> dict[str, States]:
        """What is stored of these events' attempts."""
        found: dict[str, States] = defaultdict(dict)
        if ids:
            rows = connection.execute(self._stored, {"ids": listed_ids(self._dialect, list(ids))})
            for event_id, delivery_id, attempt, offset, workflow_id, replay, status, of_ms in rows:
                state = workflow_id, replay, attempt, status
                found[event_id][delivery_id, attempt] = offset, of_ms, state
        return found


def _by_event(attempts: Sequence[Row]) -> dict[str, Any]:
    """The attempt of each event, where there is one; of several a list."""
    found: dict[str, Any] = {attempt[_EVENT_ID]: attempt for attempt in attempts}
    if len(found) < len(attempts):
        lists: dict[str, list[Row]] = defaultdict(list)
        for attempt in attempts:
            lists[attempt[_EVENT_ID]].append(attempt)
        found |= {event_id: several for event_id, several in lists.items() if len(several) > 1}
    return found


def _merged(stored: States | None, attempts: Any) -> States:
    """With a row, a list of rows or nothing. Of two records about one attempt the later counts."""
    states = {} if stored is None else stored
    for row in attempts if type(attempts) is list else (() if attempts is None else (attempts,)):
        key = row[_DELIVERY], row[_ATTEMPT]
        before = states.get(key)
        if before is None or before[0] <= row[_OFFSET]:
            states[key] = row[_OFFSET], row[_OF_MS], (row[_WORKFLOW], row[_REPLAY], row[_ATTEMPT], row[_STATE])
    return states


def _status(routes: str, received_ms: int, states: States) -> str:
    """Remembered by what it depends on: most events have the same routes and went the same way."""
    return _status_of(routes, tuple([state for _, of_ms, state in states.values() if of_ms in (0, received_ms)]))


@lru_cache(maxsize=16_384)
def _status_of(routes: str, attempts: tuple[tuple[str, int, int, str], ...]) -> str:
    counting = [AttemptState(*attempt, 0) for attempt in attempts]
    return str(event_status(msgspec.json.decode(routes, type=tuple[str, ...]), 0, counting))
