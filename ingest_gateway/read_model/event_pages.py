"""Pages of events: filtered, in the order of receipt, complete while events arrive.

Order: `received_ms`, then id, ascending (A-084). A page goes on behind the last event of the page before. Receipt is
the log's time, but partitions become readable independently: an event can appear before the end of a page that was
given out. So a cursor also holds the last of projection's transactions that its pages have seen (`events.number`), and
the next page begins with events that came since then and belong to earlier pages. A client that follows all pages sees
every event once; each page is in order.

Every value is a bound parameter; the text of the SQL comes only from this file (S9).
"""

import hashlib
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, text

from schemas.read_model import NUMBER_BITS, scope_of, term_of

START = (-1, "")
COLUMNS = ("id", "stream", "type", "status", "received_ms", "occurred_at", "idempotency_key", "actor", "metadata")
_ListKey = tuple[int, str]
"""An event's key in the order: when it was received, its id."""


class EventFilter(msgspec.Struct, frozen=True, array_like=True):
    """`streams` None: all. Times by receipt: from inclusive, to exclusive. Metadata: key and value as text."""

    streams: tuple[str, ...] | None = None
    type: str | None = None
    status: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()

    def bound_to(self, workspace: str, environment: str) -> bytes:
        """The list that a cursor is valid for."""
        return hashlib.sha256(msgspec.json.encode(["events", workspace, environment, self])).digest()


class EventCursor(msgspec.Struct, frozen=True, array_like=True):
    """Where the next page begins. All events up to `passed` that were readable at transaction `seen` were shown.

    `until`: the next page still has events of earlier pages that came up to that transaction; those up to `shown` were
    shown.
    """

    passed: _ListKey
    seen: int
    until: int | None = None
    shown: _ListKey = START

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)


def decode_cursor(cursor: bytes) -> EventCursor:
    """From the bytes in a cursor that Atlas gave out."""
    return msgspec.msgpack.decode(cursor, type=EventCursor)


class Page(NamedTuple):
    """`next` is None at the end. Rows have COLUMNS."""

    rows: list[Row[Any]]
    next: EventCursor | None


def cursor_behind(connection: Connection, workspace: str, environment: str, event_id: str) -> EventCursor | None:
    """Behind an event that is named by its id (A-086); None where there is none."""
    parameters = {"workspace": workspace, "environment": environment, "id": event_id}
    found = connection.execute(_BY_ID, parameters).first()
    return None if found is None else EventCursor((found.received_ms, event_id), _transactions(connection))


def page(
    connection: Connection,
    workspace: str,
    environment: str,
    chosen: EventFilter,
    cursor: EventCursor | None,
    limit: int,
) -> Page:
    """One page. Of one moment also where statements are: rows of later transactions are left to the next page."""
    present = _transactions(connection)
    query = _EventQuery(connection, workspace, environment, chosen)
    if cursor is None:
        return _page_from(query, EventCursor(START, present), present, [], limit)
    until = present if cursor.until is None else cursor.until
    late = query.late(cursor, until, limit + 1) if until > cursor.seen else []
    if len(late) > limit:
        shown = late[:limit]
        return Page(shown, EventCursor(cursor.passed, cursor.seen, until, _key(shown[-1])))
    return _page_from(query, cursor, until, late, limit)


def _page_from(query: "_EventQuery", cursor: EventCursor, until: int, late: list[Row[Any]], limit: int) -> Page:
    """`late` first, then the events behind the cursor."""
    rows = query.behind(cursor.passed, until, limit + 1 - len(late))
    if len(late) + len(rows) <= limit:
        return Page(late + rows, None)
    rows = rows[: limit - len(late)]
    return Page(late + rows, EventCursor(_key(rows[-1]) if rows else cursor.passed, until))


def _key(row: Row[Any]) -> _ListKey:
    return row.received_ms, row.id


def _transactions(connection: Connection) -> int:
    return int(connection.execute(_TRANSACTIONS).scalar_one())


class _EventQuery:
    """Statements for one filter. The first metadata key leads where there is one, else an index of events."""

    def __init__(self, connection: Connection, workspace: str, environment: str, chosen: EventFilter) -> None:
        self._connection = connection
        self._is_sqlite = connection.dialect.name == "sqlite"
        scope = scope_of(workspace, environment)
        self._values: dict[str, object] = {"scope": scope, "workspace": workspace, "environment": environment}
        self._conditions = ["e.scope = :scope", "e.workspace = :workspace", "e.environment = :environment"]
        self._add(chosen)
        self._metadata = chosen.metadata
        self._earliest: _ListKey = START if chosen.from_ms is None else (chosen.from_ms, "")
        for index, pair in enumerate(chosen.metadata):
            self._values[f"term{index}"] = term_of(workspace, environment, *pair)

    def behind(self, passed: _ListKey, until: int, limit: int) -> list[Row[Any]]:
        """Events behind `passed`, in order."""
        passed = max(passed, self._earliest)
        lead = "m0" if self._metadata else "e"
        conditions = [
            f"{lead}.received_ms >= :passed_ms",  # what the index begins at
            f"({lead}.received_ms, {lead}.id) > (:passed_ms, :passed_id)",
            "e.number < :until",
        ]
        values = {"passed_ms": passed[0], "passed_id": passed[1], "until": _first_of(until + 1)}
        return self._rows(lead, "events AS e", conditions, limit, **values)

    def late(self, cursor: EventCursor, until: int, limit: int) -> list[Row[Any]]:
        """Events that became readable after the page before, and belong before its end."""
        table = "events AS e NOT INDEXED" if self._is_sqlite else "events AS e"  # but by its key, which is `number`
        conditions = [
            "e.number >= :seen AND e.number < :until",
            "(e.received_ms, e.id) <= (:passed_ms, :passed_id)",
            "(e.received_ms, e.id) > (:shown_ms, :shown_id)",
        ]
        seen, until = _first_of(cursor.seen + 1), _first_of(until + 1)
        values = {"seen": seen, "until": until, "passed_ms": cursor.passed[0], "passed_id": cursor.passed[1]}
        return self._rows("e", table, conditions, limit, **values, shown_ms=cursor.shown[0], shown_id=cursor.shown[1])

    def _add(self, chosen: EventFilter) -> None:
        if chosen.streams is not None:
            names = {f"stream{index}": name for index, name in enumerate(chosen.streams)}
            self._values |= names
            listed = ", ".join(f":{name}" for name in names) or "NULL"
            self._conditions.append(f"e.stream = {listed}" if len(names) == 1 else f"e.stream IN ({listed})")
        for condition, name, value in (
            ("e.type = :type", "type", chosen.type),
            ("e.status = :status", "status", chosen.status),
            ("e.received_ms >= :from_ms", "from_ms", chosen.from_ms),
            ("e.received_ms < :to_ms", "to_ms", chosen.to_ms),
        ):
            if value is not None:
                self._conditions.append(condition)
                self._values[name] = value
        if chosen.status not in (None, "delivered"):
            self._conditions.append("e.status <> 'delivered'")  # names the partial index

    def _rows(self, lead: str, events: str, more: list[str], limit: int, **values: object) -> list[Row[Any]]:
        joined, conditions = self._joined(lead, events)
        statement = (
            f"SELECT {', '.join(f'e.{name}' for name in COLUMNS)} FROM {joined}"
            f" WHERE {' AND '.join([*self._conditions, *conditions, *more])}"
            f" ORDER BY {lead}.received_ms, {lead}.id LIMIT {limit:d}"
        )
        return list(self._connection.execute(text(statement), self._values | values).all())

    def _joined(self, lead: str, events: str) -> tuple[str, list[str]]:
        """CROSS JOIN keeps SQLite to the order in which they are named; LATERAL with OFFSET does PostgreSQL, which
        else joins all of a common value's rows and then sorts them.
        """
        tables = [f"events_metadata AS m{index}" for index in range(len(self._metadata))]
        if lead != "e" and not self._is_sqlite:
            events = _EVENT_OF_METADATA
        order = [events, *tables] if lead == "e" else [tables[0], events, *tables[1:]]
        conditions = []
        for index in range(len(self._metadata)):
            m = f"m{index}"
            conditions += [f"{m}.term = :term{index}", f"{m}.received_ms = e.received_ms", f"{m}.id = e.id"]
        return " CROSS JOIN ".join(order), conditions


def _first_of(transaction: int) -> int:
    """The least `number` that a row of this transaction can have."""
    return transaction << NUMBER_BITS


_EVENT_OF_METADATA = "LATERAL (SELECT * FROM events WHERE id = m0.id AND received_ms = m0.received_ms OFFSET 0) AS e"
_TRANSACTIONS = text("SELECT transactions FROM read_model_state")
_BY_ID = text("SELECT received_ms FROM events WHERE id = :id AND workspace = :workspace AND environment = :environment")
