"""Upserts compiled from Core once, many rows a statement, the rows handed to the driver as flat tuples.

Many rows a statement, because each statement costs SQLAlchemy, the driver and the interpreter lock a fixed amount:
one row a statement on SQLite, the writing thread waits for the lock at every row while other threads decode.
A row replaces the one there unless it is lower in the column `newer_by` of the table's rules; without one the first
stays. `Gone` takes a row away that is not newer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, bindparam, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from processors.projection.changes import Gone, Row
from schemas.read_model import rules_of

Columns = ReadOnlyColumnCollection[str, Any]
Value = Callable[[Columns, Table], ColumnElement[Any]]
Insert = sqlite.Insert | postgresql.Insert
_INSERT: dict[str, Callable[[Table], Insert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
STATEMENT_ROWS = (256, 32, 4, 1)  # 256 rows of 17 columns: 4,352 parameters; SQLite takes 32,766, PostgreSQL 65,535
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
        self._key_columns = len(table.primary_key.columns)
        assert names[: self._key_columns] == table.primary_key.columns.keys(), "the key's columns come first"
        self._order = None if order is None else names.index(order)
        self._one_by_one = one_by_one
        one = _compiled(engine, table, order, special)
        self._statements = {rows: _of_rows(one, rows) for rows in STATEMENT_ROWS}
        self._delete = None if order is None else _deletion(engine, table, order)

    def put(self, connection: Connection, rows: list[Row], gone: Sequence[Gone] = ()) -> None:
        if gone:
            rows = self._take_out(connection, rows, gone)
        if self._one_by_one:
            self._execute(connection, 1, rows)
            return
        left = rows if self._order is None else self._newest(rows, self._order)
        for size in STATEMENT_ROWS:
            full = len(left) - len(left) % size
            self._execute(connection, size, [flat(left[at : at + size]) for at in range(0, full, size)])
            left = left[full:]

    def _take_out(self, connection: Connection, rows: list[Row], gone: Sequence[Gone]) -> list[Row]:
        """What is left of the rows that are to be put."""
        assert self._delete is not None and self._order is not None, "its table's rules say what is newer"
        newest: dict[Row, int] = {}
        for key, at in gone:
            newest[key] = max(at, newest.get(key, at))
        connection.exec_driver_sql(self._delete, [(*key, at) for key, at in newest.items()])
        width, order = self._key_columns, self._order
        return [row for row in rows if row[:width] not in newest or row[order] > newest[row[:width]]]

    def _newest(self, rows: Iterable[Row], order: int) -> list[Row]:
        """One row a key: PostgreSQL refuses a statement that would set a row twice."""
        newest: dict[Row, Row] = {}
        width = self._key_columns
        for row in rows:
            key = row[:width]
            before = newest.get(key)
            if before is None or before[order] <= row[order]:
                newest[key] = row
        return list(newest.values())

    def _execute(self, connection: Connection, size: int, parameters: list[Row]) -> None:
        if parameters:
            connection.exec_driver_sql(self._statements[size], parameters)


def _deletion(engine: Engine, table: Table, order: str) -> str:
    """Parameters: the key, and up to where in the column `newer_by` the row may be."""
    conditions = [column == bindparam(column.name) for column in table.primary_key.columns]
    statement = delete(table).where(*conditions, table.c[order] <= bindparam("newest"))
    return str(statement.compile(dialect=engine.dialect))


def flat(rows: Sequence[Row]) -> Row:
    return tuple(chain.from_iterable(rows))


def _compiled(engine: Engine, table: Table, order: str | None, special: Mapping[str, Value]) -> str:
    """The statement for one row, its parameters in the order of the columns."""
    insert = _INSERT[engine.dialect.name](table)
    key = list(table.primary_key.columns)
    if order is None:
        return str(insert.on_conflict_do_nothing(index_elements=key).compile(dialect=engine.dialect))
    new = insert.excluded
    values = {
        column.name: special[column.name](new, table) if column.name in special else new[column.name]
        for column in table.columns
        if not column.primary_key
    }
    upsert = insert.on_conflict_do_update(index_elements=key, set_=values, where=new[order] >= table.c[order])
    return str(upsert.compile(dialect=engine.dialect))


def _of_rows(statement: str, rows: int) -> str:
    """The same statement for several rows: what stands between VALUES and ON CONFLICT, as often."""
    head, values = statement.split("VALUES ", 1)
    one_row, tail = values.split(" ON CONFLICT", 1)
    return f"{head}VALUES {', '.join([one_row] * rows)} ON CONFLICT{tail}"
