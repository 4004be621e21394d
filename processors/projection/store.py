"""The read model's one writer: a group of batches in one transaction, rows and positions together.

No statement changes a row that a later record has set (upserts.py), so writing a batch twice changes nothing.
Writers go one after the other: a transaction begins by counting itself, so rows become readable in the order of
`events.number`.

PostgreSQL commits asynchronously (operations/read_model_engine.py). If it loses the last transactions in a crash, their
positions are lost with them; `check` notices that, and the process starts again at the positions that are left.

Raises DatabaseAway where trying again may help (locked, full, restarting), RowsRefused where it never will, and
Replaced where `atlas rebuild` has swapped in another database. Blocking: projection calls it from one thread.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Index, Table, and_, case, select, text, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from domain.entities.control_view import StreamKey
from operations.read_model_engine import is_current
from processors.projection.changes import Changes, ProjectedRecord
from processors.projection.migrate import migrate
from processors.projection.retention import (
    Expiring,
    Retention,
    Walk,
    delete_aged,
    delete_leftovers,
    streams_shown,
)
from processors.projection.statuses import Statuses
from processors.projection.upserts import NO_SPECIAL, NewColumns, Upsert, Value
from schemas.read_model import (
    NUMBER_BITS,
    ROWS,
    attempts,
    events,
    log_positions,
    read_model_state,
    rules_of,
    source_positions,
)

_Answer = TypeVar("_Answer")
ANALYSED_AFTER = frozenset({3, 30, 300, 3_000})  # transactions of this process
_ANALYSE = text("ANALYZE events, attempts, events_metadata, audit_log")
_GENERATION = select(read_model_state.c.generation)
_COUNT = (
    update(read_model_state)
    .values(transactions=read_model_state.c.transactions + 1)
    .returning(read_model_state.c.generation, read_model_state.c.transactions)
)
_MakeChanges = Callable[[Sequence[ProjectedRecord]], Changes]
_REFUSING_SQLSTATES = ("22", "23", "54")  # data exception, constraint, a limit of the database (PostgreSQL, appendix A)


class DatabaseAway(Exception):
    """The database can't take the transaction now; nothing of it was done."""


class RowsRefused(Exception):
    """The database will never take one of the rows; nothing of the transaction was done."""


class Replaced(Exception):
    """This is not the read model any more, or it has gone back behind what was written; nothing was done. Its positions
    say where to go on.
    """


class Store:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._generation: str | None = None
        self._applied = 0
        self._reached: dict[tuple[str, int], int] = {}
        self._upserts = {
            table: Upsert(engine, table, _SPECIAL.get(table, NO_SPECIAL), one_by_one=table is source_positions)
            for table in ROWS
        }
        self._statuses = Statuses(engine.dialect.name)
        self._retention = Retention(engine.dialect.name)

    def prepare(self) -> None:
        """Makes the tables, or brings them to this version."""
        self._transaction(migrate)
        self._generation = self._transaction(lambda connection: connection.execute(_GENERATION).scalar_one())

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset to apply of each (topic, partition) of which anything was applied."""
        return self._transaction(_positions)

    def apply(self, group: Sequence[Changes]) -> None:
        """All or nothing. Raises Replaced."""
        self._transaction(lambda connection: self._write(connection, group))
        for changes in group:
            topic, partition, next_offset = changes.position
            self._reached[topic, partition] = max(next_offset, self._reached.get((topic, partition), 0))
        self._analyse_young()

    def check(self) -> None:
        """Raises Replaced where something that was written here is not there any more."""
        self._transaction(self._positions_kept)

    def refused(self, records: Sequence[ProjectedRecord], project: _MakeChanges) -> set[int]:
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

    def delete_aged(self, table: Table, now_ms: int) -> int:
        """A slice of the rows that leave by their own age; how many."""
        return self._transaction(lambda connection: delete_aged(connection, table, now_ms))

    def count_from(self, transactions: int) -> None:
        """Its next transaction has a higher number than this: cursors given out by another read model go on here."""
        behind = update(read_model_state).where(read_model_state.c.transactions < transactions)
        self._transaction(lambda connection: connection.execute(behind.values(transactions=transactions)))

    def drop_indexes(self) -> None:
        """Those by which events are listed; for filling a read model that nobody reads yet. `make_indexes` ends it."""
        self._each_index(lambda index, connection: index.drop(connection))

    def make_indexes(self) -> None:
        self._each_index(lambda index, connection: index.create(connection))

    def _each_index(self, do: Callable[[Index, Connection], None]) -> None:
        def each(connection: Connection) -> None:
            for index in _LISTING:
                do(index, connection)

        self._transaction(each)

    def close(self) -> None:
        self._engine.dispose()

    def _analyse_young(self) -> None:
        """PostgreSQL plans by what it knows of the tables, and looks at new ones only after a minute."""
        self._applied += 1
        if self._applied in ANALYSED_AFTER and self._engine.dialect.name == "postgresql":
            self._transaction(lambda connection: connection.execute(_ANALYSE))

    def _search(self, connection: Connection, records: Sequence[ProjectedRecord], project: _MakeChanges) -> set[int]:
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
        number = self._begin(connection)
        stored = self._positions_kept(connection)
        if any(map(_is_compacted, group)):
            group = _not_applied(group, stored)
        for changes in group:
            changes.rows[source_positions] = list(changes.sources.values())
            changes.rows[log_positions] = [changes.position]
        rows = {table: [row for changes in group for row in changes.rows.get(table, ())] for table in self._upserts}
        settled = self._statuses.settled(connection, rows[events], rows[attempts], number << NUMBER_BITS)
        rows[events], again = settled
        for table, upsert in self._upserts.items():
            upsert.put(connection, rows[table], [gone for changes in group for gone in changes.gone.get(table, ())])
        self._statuses.refresh(connection, again)

    def _positions_kept(self, connection: Connection) -> dict[tuple[str, int], int]:
        stored = _positions(connection)
        if any(stored.get(tp, 0) < reached for tp, reached in self._reached.items()):
            raise Replaced("the read model has lost transactions")
        return stored

    def _begin(self, connection: Connection) -> int:
        """The transaction's number. Holds other writers off until it ends. Raises Replaced."""
        generation, number = connection.execute(_COUNT).one()
        if self._generation not in (None, generation) or not is_current(self._engine):
            raise Replaced
        return int(number)

    def _transaction(self, work: Callable[[Connection], _Answer], *, keep: bool = True) -> _Answer:
        """`keep=False`: the transaction is rolled back in any case."""
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
                raise DatabaseAway(str(getattr(error, "orig", None) or error)) from error  # without the statement
            raise


def _positions(connection: Connection) -> dict[tuple[str, int], int]:
    columns = log_positions.c.topic, log_positions.c.partition, log_positions.c.next_offset
    return {(topic, partition): next_offset for topic, partition, next_offset in connection.execute(select(*columns))}


def _is_compacted(changes: Changes) -> bool:
    return any(rules_of(table).compacted for table in (*changes.rows, *changes.gone))


def _not_applied(group: Sequence[Changes], applied: Mapping[tuple[str, int], int]) -> list[Changes]:
    """Without what a worker brings that was paused, and whose partition has gone on without it."""
    return [
        changes
        for changes in group
        if not _is_compacted(changes) or changes.position.next_offset > applied.get(changes.position[:2], 0)
    ]


def _of_the_newest_admission(new: NewColumns, table: Table) -> ColumnElement[Any]:
    """An event decided once more stays where it is; one admitted once more is new to who pages."""
    return case((new["received_ms"] > table.c.received_ms, new["number"]), else_=table.c.number)


def _furthest_of_same_topic(new: NewColumns, table: Table) -> ColumnElement[Any]:
    same_but_behind = and_(new["topic_id"] == table.c.topic_id, new["next_offset"] < table.c.next_offset)
    return case((same_but_behind, table.c.next_offset), else_=new["next_offset"])


def _is_refusal(error: Exception) -> bool:
    """Whether it lies in the row: a value that the driver can't pass on, a constraint, a limit."""
    if isinstance(error, DataError | IntegrityError | OverflowError | UnicodeError):
        return True
    sqlstate = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return sqlstate is not None and sqlstate.startswith(_REFUSING_SQLSTATES)


_SPECIAL: dict[Table, Mapping[str, Value]] = {
    events: {"number": _of_the_newest_admission},
    source_positions: {"next_offset": _furthest_of_same_topic},
}
"""Columns whose value in a row that is there already is not simply the new one."""
_LISTING = sorted((index for index in events.indexes if not index.unique), key=lambda index: str(index.name))
