"""Keeps `events.status` what the attempts say (domain/events/status.py), within the transaction that writes both.

An event that comes with its attempts, or after them, is written with its status (`settled`): most of those that are
read in bulk. An event that is there already gets it when attempts come (`refresh`); one that stays as it is is not
written. Ids are asked for as a list, by statements that go from the ids to the rows by their keys whatever the
databases' statistics say: joined freely, each id costs a look at all attempts while tables are young.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from domain.events.status import AttemptState, event_status
from processors.projection.changes import Row
from schemas.read_model import AttemptRow, EventRow

IDS_MAX = 5_000
AMONG_IDS = {"sqlite": "IN (SELECT value FROM json_each(:ids))", "postgresql": "= ANY(CAST(:ids AS text[]))"}
"""`id …` for a list of ids, by dialect; `listed_ids` makes its parameter."""
_STATE_OF = "a.workflow_id, a.replay, a.attempt, a.status"
_OF_ATTEMPT = f"a.event_id, a.delivery_id, a.attempt, a.log_offset, a.received_ms, {_STATE_OF}"
_STORED = {
    "sqlite": f"SELECT {_OF_ATTEMPT} FROM json_each(?) AS k CROSS JOIN attempts AS a WHERE a.event_id = k.value",
    "postgresql": f"SELECT {_OF_ATTEMPT} FROM unnest(CAST(%s AS text[])) AS k (id)"
    " CROSS JOIN LATERAL (SELECT * FROM attempts WHERE event_id = k.id OFFSET 0) AS a",
}
_STORED_MS, _STORED_STATE = 4, 5
"""The columns of such a row: the admission's time, and the first of the attempt's result."""
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
_state = itemgetter(*map(AttemptRow._fields.index, ("workflow_id", "replay", "attempt", "status")))

States = dict[tuple[str, int], tuple[int, int, Any]]
"""Of one event, by delivery and attempt: its offset on its partition of `outcomes`, the admission that it belongs to
(`received_ms`), and its result: workflow, replay, attempt, state.
"""


def listed_ids(dialect: str, ids: Collection[str]) -> object:
    return msgspec.json.encode(ids).decode() if dialect == "sqlite" else list(ids)


class Statuses:
    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._stored = _STORED[dialect]
        self._shown, self._set = (text(by_dialect[dialect]) for by_dialect in (_SHOWN, _SET))

    def settled(
        self, connection: Connection, events: list[Row], attempts: Sequence[Row], first_number: int
    ) -> tuple[list[Row], set[str]]:
        """The events as these attempts and stored ones make them, numbered on; asked before the transaction writes.

        And the ids of events whose status must be looked at again when all is written: those that are not among these
        events, or may have been admitted once more.
        """
        stored = self._stored_of(connection, {event[_ID] for event in events})
        arriving = _by_event(attempts, _EVENT_ID)
        done = []
        for number, event in enumerate(events, first_number):
            received_ms, status = event[_RECEIVED], event[_STATUS]
            before, now = stored.get(event[_ID]), arriving.get(event[_ID])
            if before is None and type(now) is tuple:
                if now[_OF_MS] in (0, received_ms):
                    status = _status_of(event[_ROUTES], (_state(now),))
            elif now is None and type(before) is tuple:
                if before[_STORED_MS] in (0, received_ms):
                    status = _status_of(event[_ROUTES], (before[_STORED_STATE:],))
            elif before is not None or now is not None:
                status = _status(event[_ROUTES], received_ms, _merged(_several(before), _several(now)))
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
        stored = self._stored_of(connection, [row[0] for row in shown])
        changed: dict[str, list[str]] = defaultdict(list)
        for event_id, before, routes, received_ms in shown:
            status = _status(routes, received_ms, _merged(_several(stored.get(event_id)), ()))
            if status != before:
                changed[status].append(event_id)
        for status, of_status in changed.items():
            connection.execute(self._set, {"status": status, "ids": listed_ids(self._dialect, of_status)})

    def _stored_of(self, connection: Connection, ids: Collection[str]) -> dict[str, Any]:
        """The stored attempts of these events, as `_by_event` has them."""
        if not ids:
            return {}
        asked = connection.exec_driver_sql(self._stored, (listed_ids(self._dialect, list(ids)),))
        assert asked.cursor is not None, "it gives rows"
        rows = asked.cursor.fetchall()  # as plain tuples: there are many
        asked.close()
        return _by_event(rows, 0)


def _by_event(rows: Sequence[Any], key: int) -> dict[str, Any]:
    """The row of each event, where there is one; of several a list. `key`: the column of the event's id."""
    found: dict[str, Any] = {row[key]: row for row in rows}
    if len(found) < len(rows):
        lists: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            lists[row[key]].append(row)
        found |= {event_id: several for event_id, several in lists.items() if len(several) > 1}
    return found


def _several(found: Any) -> Sequence[Row]:
    """What `_by_event` has of an event."""
    if found is None:
        return ()
    return found if type(found) is list else (found,)


def _merged(stored: Iterable[Row], attempts: Iterable[Row]) -> States:
    """Of two records about one attempt the later counts."""
    states: States = {}
    for _, delivery_id, attempt, offset, of_ms, *state in stored:
        states[delivery_id, attempt] = offset, of_ms, tuple(state)
    for row in attempts:
        key = row[_DELIVERY], row[_ATTEMPT]
        before = states.get(key)
        if before is None or before[0] <= row[_OFFSET]:
            states[key] = row[_OFFSET], row[_OF_MS], _state(row)
    return states


def _status(routes: str, received_ms: int, states: States) -> str:
    """Remembered by what it depends on: most events have the same routes and went the same way."""
    return _status_of(routes, tuple([state for _, of_ms, state in states.values() if of_ms in (0, received_ms)]))


@lru_cache(maxsize=16_384)
def _status_of(routes: str, attempts: tuple[tuple[str, int, int, str], ...]) -> str:
    counting = [AttemptState(*attempt, 0) for attempt in attempts]
    return str(event_status(msgspec.json.decode(routes, type=tuple[str, ...]), 0, counting))
