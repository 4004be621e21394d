"""The read model's one writer: a group of batches in one transaction, rows and positions together.

Every statement leaves a row alone which a later record has set (upserts.py), so doing a batch twice changes nothing.

Raises DatabaseAway where trying again may help (locked, full, restarting), RowsRefused where it never will. Blocking:
projection calls it from one thread of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, case, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from processors.projection.decide import Changes, LogRecord
from processors.projection.migrate import migrate
from processors.projection.upserts import Columns, Upsert
from schemas.read_model import attempts, event_conflicts, events, log_positions, source_positions

Answer = TypeVar("Answer")
Project = Callable[[Sequence[LogRecord]], Changes]
_REFUSING_SQLSTATES = ("22", "23", "54")  # data exception, constraint, a limit of the database (PostgreSQL, appendix A)


class DatabaseAway(Exception):
    """The database can't take the transaction now; nothing of it was done."""


class RowsRefused(Exception):
    """The database will never take one of the rows; nothing of the transaction was done."""


class Store:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._events = Upsert(engine, events, "received_ms")
        self._attempts = Upsert(engine, attempts, "log_offset")
        self._conflicts = Upsert(engine, event_conflicts, "received_ms")
        self._sources = Upsert(engine, source_positions, "log_offset", {"next_offset": _furthest_of_same_topic})
        self._positions = Upsert(engine, log_positions, "next_offset")

    def prepare(self) -> None:
        """Makes the tables, or brings them to this version."""
        self._transaction(migrate)

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset to apply of each (topic, partition) of which anything was applied."""
        columns = log_positions.c.topic, log_positions.c.partition, log_positions.c.next_offset
        rows = self._transaction(lambda connection: connection.execute(select(*columns)).all())
        return {(topic, partition): next_offset for topic, partition, next_offset in rows}

    def apply(self, group: Sequence[Changes]) -> None:
        """All or nothing."""
        self._transaction(lambda connection: self._write(connection, group))

    def refused(self, records: Sequence[LogRecord], project: Project) -> set[int]:
        """The offsets of those records whose rows the database refuses, found by halving; writes nothing."""
        return self._transaction(lambda connection: self._search(connection, records, project), keep=False)

    def close(self) -> None:
        self._engine.dispose()

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
        self._events.put(connection, (row for changes in group for row in changes.events))
        self._attempts.put(connection, (row for changes in group for row in changes.attempts))
        self._conflicts.put(connection, (row for changes in group for row in changes.conflicts))
        self._sources.put(connection, (row for changes in group for row in changes.sources.values()))
        self._positions.put(connection, (changes.position for changes in group))

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


def _furthest_of_same_topic(new: Columns, table: Table) -> ColumnElement[Any]:
    same_but_behind = and_(new["topic_id"] == table.c.topic_id, new["next_offset"] < table.c.next_offset)
    return case((same_but_behind, table.c.next_offset), else_=new["next_offset"])


def _is_refusal(error: Exception) -> bool:
    """Whether it lies in the row: a value that the driver can't pass on, a constraint, a limit."""
    if isinstance(error, DataError | IntegrityError | OverflowError | UnicodeError):
        return True
    sqlstate = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return sqlstate is not None and sqlstate.startswith(_REFUSING_SQLSTATES)
