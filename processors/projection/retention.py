"""Events leave the read model when their stream keeps them no longer: small slices by index, each its own transaction.

A slice holds the write lock for some milliseconds. With an event go its attempts and metadata rows. What has no event
goes too: attempts of which no event came in two days (the event had left before them), and metadata rows of an earlier
admission. Rows of tables with an age of their own (`Rules.kept_days`: conflicts, the audit log) leave by that.
Not partitioned by time: an event's key is its id, by which decisions and outcomes find it, and PostgreSQL wants the
time in the key of a table that is partitioned by it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, select, text, tuple_

from domain.entities.control_view import StreamKey
from processors.projection.projectors.events import searchable
from processors.projection.statuses import AMONG_IDS, listed_ids
from schemas.entities import Stream
from schemas.read_model import ROWS, attempts, events_metadata, rules_of, scope_of, term_of
from schemas.topics import DAY_MS

SLICE_EVENTS = 500
SLICE_ROWS = 2_000
LEFTOVER_DAYS = 2

AGING = tuple(table for table in ROWS if rules_of(table).kept_days is not None)
"""Tables whose rows are deleted by their own age."""


class Expiring(NamedTuple):
    """Of this stream what was received before `before_ms`."""

    workspace: str
    environment: str
    stream: str
    before_ms: int


def expiring(key: StreamKey, kept_days: int, now_ms: int) -> Expiring:
    return Expiring(*key, now_ms - kept_days * DAY_MS)


def kept_days(streams: Iterable[Stream]) -> dict[StreamKey, int]:
    """How long each known stream keeps its events; of others (long deleted) 90 days are assumed."""
    return {(stream.workspace, stream.environment, stream.name): stream.retention_days for stream in streams}


class Retention:
    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._attempts = text(f"DELETE FROM attempts WHERE event_id {AMONG_IDS[dialect]}")
        self._events = text(f"DELETE FROM events WHERE id {AMONG_IDS[dialect]}")

    def slice(self, connection: Connection, expiring: Expiring) -> int:
        """Deletes up to 500 events; how many it were."""
        scope = scope_of(expiring.workspace, expiring.environment)
        rows = connection.execute(_OLD, expiring._asdict() | {"scope": scope, "most": SLICE_EVENTS}).all()
        if not rows:
            return 0
        ids = listed_ids(self._dialect, [row.id for row in rows])
        keys = [
            {
                "term": term_of(expiring.workspace, expiring.environment, *pair),
                "received_ms": row.received_ms,
                "id": row.id,
            }
            for row in rows
            if row.metadata is not None
            for pair in searchable(row.metadata)
        ]
        if keys:
            connection.execute(_METADATA, keys)
        connection.execute(self._attempts, {"ids": ids})
        connection.execute(self._events, {"ids": ids})
        return len(rows)


def streams_shown(connection: Connection) -> Iterator[StreamKey]:
    """Each stream of which there are events, by one step in the index a stream."""
    last: dict[str, Any] = {"scope": -1, "stream": ""}
    while (row := connection.execute(_NEXT_STREAM, last).first()) is not None:
        last = {"scope": row.scope, "stream": row.stream}
        yield row.workspace, row.environment, row.stream


@dataclass(frozen=True)
class _Part:
    """A table whose rows belong to events: its key, which of its times counts, and what makes a row an event's."""

    table: str
    key: tuple[str, ...]
    time: str
    belongs: str

    def rows(self, connection: Connection, after: tuple[object, ...]) -> Sequence[Any]:
        """The next 2,000 rows after a key: the key, the time, and whether the event is there."""
        key = ", ".join(f"p.{name}" for name in self.key)
        places = ", ".join(f":{name}" for name in self.key)
        beyond = f" WHERE ({key}) > ({places})" if after else ""
        statement = text(
            f"SELECT {key}, p.{self.time} AS at_ms, e.id IS NOT NULL AS has_event FROM {self.table} AS p"
            " LEFT JOIN events AS e"
            f" ON {self.belongs}"
            f"{beyond} ORDER BY {key} LIMIT {SLICE_ROWS}"
        )
        return connection.execute(statement, dict(zip(self.key, after, strict=False))).all()

    def delete(self, connection: Connection, keys: list[dict[str, object]]) -> None:
        found = " AND ".join(f"{name} = :{name}" for name in self.key)
        connection.execute(text(f"DELETE FROM {self.table} WHERE {found}"), keys)


_PARTS = (
    _Part("attempts", tuple(attempts.primary_key.columns.keys()), "completed_ms", "e.id = p.event_id"),
    _Part(
        "events_metadata",
        tuple(events_metadata.primary_key.columns.keys()),
        "received_ms",
        "e.id = p.id AND e.received_ms = p.received_ms",
    ),
)


class Walk(NamedTuple):
    """How far the search for leftovers has come: the table, and the key behind which it goes on."""

    part: int = 0
    after: tuple[object, ...] = ()


START = Walk()


def delete_leftovers(connection: Connection, at: Walk, now_ms: int) -> Walk:
    """A step on through the tables that belong to events, deleting what has none."""
    part = _PARTS[at.part]
    rows = part.rows(connection, at.after)
    before_ms = now_ms - LEFTOVER_DAYS * DAY_MS
    width = len(part.key)
    leftover = [
        dict(zip(part.key, row[:width], strict=True)) for row in rows if not row.has_event and row.at_ms < before_ms
    ]
    if leftover:
        part.delete(connection, leftover)
    if len(rows) == SLICE_ROWS:
        return Walk(at.part, tuple(rows[-1][:width]))
    return Walk((at.part + 1) % len(_PARTS))


def delete_aged(connection: Connection, table: Table, now_ms: int) -> int:
    """Up to 2,000 rows that are older than their table keeps them; how many it were."""
    rules = rules_of(table)
    assert rules.kept_days is not None, "only tables of AGING have an age"
    key, at = tuple_(*table.primary_key.columns), table.c[rules.time]
    old = select(*table.primary_key.columns).where(at < now_ms - rules.kept_days * DAY_MS).order_by(at)
    return connection.execute(delete(table).where(key.in_(old.limit(SLICE_ROWS)))).rowcount


OLD_EVENTS = (
    "SELECT id, metadata, received_ms FROM events WHERE scope = :scope AND stream = :stream"
    " AND received_ms < :before_ms AND workspace = :workspace AND environment = :environment"
    " ORDER BY received_ms LIMIT :most"
)
_OLD = text(OLD_EVENTS)
_METADATA = text("DELETE FROM events_metadata WHERE term = :term AND received_ms = :received_ms AND id = :id")
_NEXT_STREAM = text(
    "SELECT scope, workspace, environment, stream FROM events WHERE (scope, stream) > (:scope, :stream)"
    " ORDER BY scope, stream LIMIT 1"
)
