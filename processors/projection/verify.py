"""Compares the live read model with one rebuilt from the log, row by row; no difference means that all is well.

Both are at the same positions: the new one is filled up to the live one's while the live one's writers are held off.
The live one is then read as of that moment while its writers go on.
"""

from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Exists, Table, collate, select, text

from operations.read_model_engine import ReadModelReader
from processors.projection.rebuild import BeforeStep, fill, held, new_read_model, positions
from processors.projection.replay import replay
from schemas.read_model import ROWS, attempts, events, events_metadata, key_of

DIFFERENCES_MAX = 100


class Difference(NamedTuple):
    """A row that only one side has. A row that differs is listed twice, once for each side."""

    table: str
    side: str  # live or log
    row: tuple[Any, ...]


def verify(database_url: str, bootstrap: str, step: BeforeStep = lambda step: None) -> list[Difference]:
    """The first hundred. Raises RebuildFailed, DatabaseAway."""
    reader = ReadModelReader(database_url, 1)
    with new_read_model(database_url, step) as new:
        fill(new, bootstrap, step)
        live = reader.connect()
        if live.dialect.name == "postgresql":
            live.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))  # looks at nothing yet
        with held(database_url, step) as lock:
            replay(bootstrap, new.store, positions(lock))
            live.execute(select(events.c.id).limit(1)).all()  # from here on it is read as of now
        engine = new.reader()
        with live, engine.connect() as made:
            found = list(islice(_differences(live, made), DIFFERENCES_MAX))
        engine.dispose()
    reader.close()
    new.discard()
    return found


def _differences(live: Connection, made: Connection) -> Iterator[Difference]:
    for table in ROWS:
        yield from _of_table(table, live, made)


def _of_table(table: Table, live: Connection, made: Connection) -> Iterator[Difference]:
    """Both in the order of the key, walked side by side."""
    names = [name for name in table.columns.keys() if name != "number"]  # noqa: SIM118
    key = itemgetter(*map(names.index, key_of(table)))
    ours, theirs = _rows(table, live), _rows(table, made)
    one, other = next(ours, None), next(theirs, None)
    while one is not None or other is not None:
        if one == other:
            one, other = next(ours, None), next(theirs, None)
        elif other is None or (one is not None and key(one) <= key(other)):
            yield Difference(table.name, "live", one or ())
            one = next(ours, None)
        else:
            yield Difference(table.name, "log", other)
            other = next(theirs, None)


def _rows(table: Table, connection: Connection) -> Iterator[tuple[Any, ...]]:
    """But for the order in which they were written, and for what is left of events that are gone."""
    wanted = select(*(column for column in table.columns if column.name != "number"))
    if table is attempts:
        wanted = wanted.where(_there_is(events.c.id == table.c.event_id))
    elif table is events_metadata:
        wanted = wanted.where(_there_is((events.c.id == table.c.id) & (events.c.received_ms == table.c.received_ms)))
    order = [
        collate(column, "C") if connection.dialect.name == "postgresql" and column.type.python_type is str else column
        for column in (table.c[name] for name in key_of(table))
    ]
    rows = connection.execute(wanted.order_by(*order), execution_options={"yield_per": 2_000})
    return (tuple(bytes(value) if isinstance(value, memoryview) else value for value in row) for row in rows)


def _there_is(event: ColumnElement[bool]) -> Exists:
    return select(events.c.id).where(event).exists()
