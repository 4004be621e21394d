"""Upserts compiled from Core once, many rows a statement, the rows handed to the driver as flat tuples.

Many rows a statement, because each statement costs SQLAlchemy, the driver and the interpreter lock a fixed amount:
one row a statement on SQLite, the writing thread waits for the lock at every row while other threads decode.
A row replaces the one there unless it is lower in the column `newer_by` of the table's rules; without one the first
stays. `Gone` takes a row away that is not newer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, bindparam, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from processors.projection.changes import Gone, Row
from schemas.read_model import key_of, rules_of

NewColumns = ReadOnlyColumnCollection[str, Any]
Value = Callable[[NewColumns, Table], ColumnElement[Any]]
Insert = sqlite.Insert | postgresql.Insert
_INSERT: dict[str, Callable[[Table], Insert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
STATEMENT_ROWS = (1024, 128, 16, 4, 1)  # 1,024 rows of 24 columns: 24,576 parameters; SQLite takes 32,766
COPIED_ROWS_MIN = 8
LOOKING_TRANSACTIONS = 100
UNIQUE_VIOLATION = "23505"
NO_SPECIAL: Mapping[str, Value] = MappingProxyType({})


class Upsert:
    """`special`: columns whose value is not simply the new one. `one_by_one`: each row goes in on the one before."""

    def __init__(
        self,
        engine: Engine,
        table: Table,
        special: Mapping[str, Value] = NO_SPECIAL,
        *,
        one_by_one: bool = False,
    ) -> None:
        names = table.columns.keys()
        order = rules_of(table).newer_by
        self._key: Callable[[Row], Any] = itemgetter(*(names.index(name) for name in key_of(table)))
        self._order = None if order is None else names.index(order)
        self._one_by_one = one_by_one
        one = _compiled(engine, table, order, special)
        self._statements = {rows: _of_rows(one, rows) for rows in STATEMENT_ROWS}
        self._delete = None if order is None else _deletion(engine, table, order)
        self._copy = Copy(engine, table) if engine.dialect.name == "postgresql" else None

    def put(self, connection: Connection, rows: list[Row], gone: Sequence[Gone] = ()) -> None:
        if gone:
            rows = self._take_out(connection, rows, gone)
        if self._one_by_one:
            self._execute(connection, 1, rows)
            return
        left = rows if self._order is None else self._newest(rows, self._order)
        may_copy = len(left) >= COPIED_ROWS_MIN and not connection.in_nested_transaction()
        if may_copy and self._copy is not None and self._copy.put(connection, left):
            return
        for size in STATEMENT_ROWS:
            full = len(left) - len(left) % size
            self._execute(connection, size, [flat(left[at : at + size]) for at in range(0, full, size)])
            left = left[full:]

    def _take_out(self, connection: Connection, rows: list[Row], gone: Sequence[Gone]) -> list[Row]:
        """What is left of the rows that are to be put."""
        assert self._delete is not None and self._order is not None, "its table's rules say what is newer"
        newest: dict[Any, Gone] = {}
        for one in gone:
            key = one.key[0] if len(one.key) == 1 else one.key  # as `itemgetter` gives it
            newest[key] = max(one, newest.get(key, one), key=attrgetter("newest"))
        connection.exec_driver_sql(self._delete, [(*one.key, one.newest) for one in newest.values()])
        key_of_row, order = self._key, self._order
        return [row for row in rows if (left := newest.get(key_of_row(row))) is None or row[order] > left.newest]

    def _newest(self, rows: list[Row], order: int) -> list[Row]:
        """One row a key: PostgreSQL refuses a statement that would set a row twice."""
        key_of_row = self._key
        if len(set(map(key_of_row, rows))) == len(rows):
            return rows
        newest: dict[Any, Row] = {}
        for row in rows:
            key = key_of_row(row)
            before = newest.get(key)
            if before is None or before[order] <= row[order]:
                newest[key] = row
        return list(newest.values())

    def _execute(self, connection: Connection, size: int, parameters: list[Row]) -> None:
        if parameters:
            connection.exec_driver_sql(self._statements[size], parameters)


class Copy:
    """PostgreSQL: many new rows by COPY, a third of the time that rows as parameters take.

    Nearly all rows are new, so they are copied straight into their table. Where one is there already, that is undone,
    and nothing is copied in the next transactions either, as such rows come together.
    """

    def __init__(self, engine: Engine, table: Table) -> None:
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        self._statement = f"COPY {table.name} ({names}) FROM STDIN"
        self._dialect: Any = engine.dialect
        self._left_out = 0

    def put(self, connection: Connection, rows: Sequence[Row]) -> bool:
        """False where the rows have to look at those that are there. Asked once in a transaction for each table."""
        if self._left_out:
            self._left_out -= 1
            return False
        try:
            with connection.begin_nested():
                self._copy(connection, rows)
        except IntegrityError as error:
            if getattr(error.orig, "sqlstate", None) != UNIQUE_VIOLATION:
                raise
            self._left_out = LOOKING_TRANSACTIONS - 1
            return False
        return True

    def _copy(self, connection: Connection, rows: Iterable[Row]) -> None:
        driver: Any = connection.connection.driver_connection
        try:
            with driver.cursor() as cursor, cursor.copy(self._statement) as copy:
                for row in rows:
                    copy.write_row(row)
        except self._dialect.loaded_dbapi.Error as error:
            kind = self._dialect.loaded_dbapi.Error
            raise DBAPIError.instance(self._statement, None, error, kind, dialect=self._dialect) from error


def _deletion(engine: Engine, table: Table, order: str) -> str:
    """Parameters: the key, and up to where in the column `newer_by` the row may be."""
    conditions = [table.c[name] == bindparam(name) for name in key_of(table)]
    statement = delete(table).where(*conditions, table.c[order] <= bindparam("newest"))
    return str(statement.compile(dialect=engine.dialect))


def flat(rows: Sequence[Row]) -> Row:
    return tuple(chain.from_iterable(rows))


def _compiled(engine: Engine, table: Table, order: str | None, special: Mapping[str, Value]) -> str:
    """The statement for one row, its parameters in the order of the columns."""
    insert = _INSERT[engine.dialect.name](table)
    key = [table.c[name] for name in key_of(table)]
    if order is None:
        return str(insert.on_conflict_do_nothing(index_elements=key).compile(dialect=engine.dialect))
    new = insert.excluded
    values = {
        column.name: special[column.name](new, table) if column.name in special else new[column.name]
        for column in table.columns
        if column.name not in key_of(table)
    }
    upsert = insert.on_conflict_do_update(index_elements=key, set_=values, where=new[order] >= table.c[order])
    return str(upsert.compile(dialect=engine.dialect))


def _of_rows(statement: str, rows: int) -> str:
    """The same statement for several rows: the part between VALUES and ON CONFLICT, repeated."""
    head, values = statement.split("VALUES ", 1)
    one_row, tail = values.split(" ON CONFLICT", 1)
    return f"{head}VALUES {', '.join([one_row] * rows)} ON CONFLICT{tail}"
