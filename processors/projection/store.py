"""The read model's one writer: a group of batches in one transaction, rows and positions together.

Every statement leaves a row alone which a later record has set (upserts.py), so doing a batch twice changes nothing.
Writers take turns: a transaction begins by counting itself, so numbers become readable in their order (`events.seq`).

Raises DatabaseAway where trying again may help (locked, full, restarting), RowsRefused where it never will, Replaced
where another database stands in this one's place now (`atlas rebuild`). Blocking: projection calls it from one thread.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, case, select, text, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from operations.read_model_engine import is_current
from processors.projection.decide import Changes, LogRecord
from processors.projection.migrate import migrate
from processors.projection.retention import (
    Expiring,
    Retention,
    StreamKey,
    Walk,
    delete_leftovers,
    streams_shown,
)
from processors.projection.statuses import Statuses
from processors.projection.upserts import Columns, Upsert
from schemas.read_model import (
    attempts,
    audit_log,
    event_conflicts,
    events,
    events_metadata,
    log_positions,
    read_model_state,
    source_positions,
)

Answer = TypeVar("Answer")
ANALYSED_AFTER = frozenset({3, 30, 300, 3_000})  # transactions of this process
_ANALYSE = text("ANALYZE events, attempts, events_metadata, audit_log")
_GENERATION = select(read_model_state.c.generation)
_COUNT = (
    update(read_model_state)
    .values(transactions=read_model_state.c.transactions + 1)
    .returning(read_model_state.c.generation, read_model_state.c.transactions)
)
Project = Callable[[Sequence[LogRecord]], Changes]
_REFUSING_SQLSTATES = ("22", "23", "54")  # data exception, constraint, a limit of the database (PostgreSQL, appendix A)


class DatabaseAway(Exception):
    """The database can't take the transaction now; nothing of it was done."""


class RowsRefused(Exception):
    """The database will never take one of the rows; nothing of the transaction was done."""


class Replaced(Exception):
    """This is not the read model any more; nothing was done. The one in its place has positions of its own."""


class Store:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._generation: str | None = None
        self._applied = 0
        self._events = Upsert(engine, events, "received_ms", {"seq": _of_the_newest_admission})
        self._metadata = Upsert(engine, events_metadata, None)
        self._audit = Upsert(engine, audit_log, None)
        self._statuses = Statuses(engine.dialect.name)
        self._retention = Retention(engine.dialect.name)
        self._attempts = Upsert(engine, attempts, "log_offset")
        self._conflicts = Upsert(engine, event_conflicts, "received_ms")
        self._sources = Upsert(
            engine, source_positions, "log_offset", {"next_offset": _furthest_of_same_topic}, one_by_one=True
        )
        self._positions = Upsert(engine, log_positions, "next_offset")

    def prepare(self) -> None:
        """Makes the tables, or brings them to this version."""
        self._transaction(migrate)
        self._generation = self._transaction(lambda connection: connection.execute(_GENERATION).scalar_one())

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset to apply of each (topic, partition) of which anything was applied."""
        columns = log_positions.c.topic, log_positions.c.partition, log_positions.c.next_offset
        rows = self._transaction(lambda connection: connection.execute(select(*columns)).all())
        return {(topic, partition): next_offset for topic, partition, next_offset in rows}

    def apply(self, group: Sequence[Changes]) -> None:
        """All or nothing. Raises Replaced."""
        self._transaction(lambda connection: self._write(connection, group))
        self._analyse_young()

    def refused(self, records: Sequence[LogRecord], project: Project) -> set[int]:
        """The offsets of those records whose rows the database refuses, found by halving; writes nothing."""
        return self._transaction(lambda connection: self._search(connection, records, project), keep=False)

    def expire(self, expiring: Expiring) -> int:
        """Takes out a slice of what its stream keeps no longer; how many events that were."""
        return self._transaction(lambda connection: self._retention.slice(connection, expiring))

    def streams_shown(self) -> list[StreamKey]:
        return self._transaction(lambda connection: list(streams_shown(connection)))

    def delete_leftovers(self, at: Walk, now_ms: int) -> Walk:
        """What has no event, a part of it; where to go on from."""
        return self._transaction(lambda connection: delete_leftovers(connection, at, now_ms))

    def close(self) -> None:
        self._engine.dispose()

    def _analyse_young(self) -> None:
        """PostgreSQL plans by what it knows of the tables, and looks at new ones only after a minute."""
        self._applied += 1
        if self._applied in ANALYSED_AFTER and self._engine.dialect.name == "postgresql":
            self._transaction(lambda connection: connection.execute(_ANALYSE))

    def _search(self, connection: Connection, records: Sequence[LogRecord], project: Project) -> set[int]:
        try:
            with connection.begin_nested():
                self._write(connection, [project(records)])
        except Exception as error:
            if not _is_refusal(error):
                raise
            if len(records) == 1:
                return {records[0].offset}
            middle = len(records) // 2
            first, second = records[:middle], records[middle:]
            return self._search(connection, first, project) | self._search(connection, second, project)
        return set()

    def _write(self, connection: Connection, group: Sequence[Changes]) -> None:
        seq = self._begin(connection)
        self._events.put(connection, (row._replace(seq=seq) for changes in group for row in changes.events))
        self._metadata.put(connection, (row for changes in group for row in changes.metadata))
        self._attempts.put(connection, (row for changes in group for row in changes.attempts))
        self._conflicts.put(connection, (row for changes in group for row in changes.conflicts))
        self._audit.put(connection, (row for changes in group for row in changes.audit))
        self._statuses.refresh(connection, _touched(group))
        self._sources.put(connection, (row for changes in group for row in changes.sources.values()))
        self._positions.put(connection, (changes.position for changes in group))

    def _begin(self, connection: Connection) -> int:
        """The transaction's number. Holds other writers off until it ends. Raises Replaced."""
        generation, number = connection.execute(_COUNT).one()
        if self._generation not in (None, generation) or not is_current(self._engine):
            raise Replaced
        return int(number)

    def _transaction(self, work: Callable[[Connection], Answer], *, keep: bool = True) -> Answer:
        """`keep=False`: it is rolled back whatever came of it."""
        try:
            with self._engine.connect() as connection:
                answer = work(connection)
                if keep:
                    connection.commit()
                return answer
        except Exception as error:
            if _is_refusal(error):
                raise RowsRefused(str(error)) from error
            if isinstance(error, SQLAlchemyError):
                raise DatabaseAway(str(error)) from error
            raise


def _touched(group: Sequence[Changes]) -> Iterator[tuple[str, str, str]]:
    """Workspace, environment and id of each event that one of these rows is about."""
    for changes in group:
        for event in changes.events:
            yield event[:3]
        for attempt in changes.attempts:
            yield attempt[:3]


def _of_the_newest_admission(new: Columns, table: Table) -> ColumnElement[Any]:
    """An event decided once more stays where it is; one admitted once more is new to who pages."""
    return case((new["received_ms"] > table.c.received_ms, new["seq"]), else_=table.c.seq)


def _furthest_of_same_topic(new: Columns, table: Table) -> ColumnElement[Any]:
    same_but_behind = and_(new["topic_id"] == table.c.topic_id, new["next_offset"] < table.c.next_offset)
    return case((same_but_behind, table.c.next_offset), else_=new["next_offset"])


def _is_refusal(error: Exception) -> bool:
    """Whether it lies in the row: a value that the driver can't pass on, a constraint, a limit."""
    if isinstance(error, DataError | IntegrityError | OverflowError | UnicodeError):
        return True
    sqlstate = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return sqlstate is not None and sqlstate.startswith(_REFUSING_SQLSTATES)
