"""Connections to the read model: only this file knows how SQLite and PostgreSQL are opened.

`writer_engine` is for projection (one writer at a time on SQLite), `reader_engine` for gateways: its connections can't
write. Raises SettingsInvalid for a DATABASE_URL of any other kind.

SQLite runs in WAL mode: readers never wait for the writer, nor it for them. `synchronous=NORMAL` may lose the last
transactions in a power cut, rows and positions together, so projection reads them from the log again; the same holds
for PostgreSQL with `synchronous_commit=off`. Other settings of PostgreSQL are made in each
transaction.

`atlas rebuild` replaces the present SQLite file by another one: `<file>.current` then holds the suffix of the new
file's name, and is replaced in one step. (A file can't be replaced under its own name: its write-ahead log would be
taken for the new one's.) Readers follow within their next question; the writer asks `is_current` in each transaction.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from operations.settings import SettingsInvalid

SQLITE_BUSY_MS = 1_000
SQLITE_CACHE_KIB = 65_536
CONNECT_TIMEOUT_SECONDS = 3
INDEXING_MEMORY = "'256MB'"
NAMED = "atlas_named"
_WRITER_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "temp_store=MEMORY",
    f"cache_size=-{SQLITE_CACHE_KIB}",
    "wal_autocheckpoint=16000",
)
_BULK_PRAGMAS = (
    "journal_mode=MEMORY",
    "synchronous=OFF",
    "temp_store=MEMORY",
    f"cache_size=-{4 * SQLITE_CACHE_KIB}",
    "locking_mode=EXCLUSIVE",
)
"""For a file that nobody else has opened yet, and that is worth nothing before it is whole (`settle_bulk`)."""
_PLANNED_ANEW = {"plan_cache_mode": "force_custom_plan", "jit": "off"}
"""What is asked for is found in a millisecond; compiling the question takes hundreds."""
_WRITER_SETTINGS = {
    **_PLANNED_ANEW,
    "synchronous_commit": "off",
    **dict.fromkeys(("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin"), "off"),
}
"""All that a writer asks for it finds by keys, however young the tables' statistics are."""
_READER_SETTINGS = {**_PLANNED_ANEW, "enable_bitmapscan": "off"}
"""Pages are read in the order of an index up to their limit. A plan for any filter is a bad one for most, and a bitmap
of all that fits, then sorted, is what PostgreSQL takes for cheap where it takes the rows for few.
"""
_READER_PRAGMAS = ("query_only=ON", "temp_store=MEMORY")


def writer_engine(database_url: str) -> Engine:
    """One connection, transactions that take the write lock when they begin."""
    url = _checked(database_url)
    if url.get_backend_name() == "postgresql":
        return _postgresql(url, 1, "BEGIN", _WRITER_SETTINGS)
    present = present_file(url.database or "")
    present.parent.mkdir(parents=True, exist_ok=True)
    return sqlite_writer(present, named=Path(url.database or ""))


def schema_writer(database_url: str, schema: str) -> Engine:
    """The writer of a PostgreSQL schema that is not the live one's."""
    settings = {**_WRITER_SETTINGS, "maintenance_work_mem": INDEXING_MEMORY, "search_path": schema}
    return _postgresql(_checked(database_url), 1, "BEGIN", settings)


def sqlite_writer(file: Path, *, named: Path | None = None, bulk: bool = False) -> Engine:
    """The writer of this very file; `named`: what DATABASE_URL says, where that matters. `bulk`: nobody else opens it,
    and nothing of it is on disk before `settle_bulk`.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        pool_size=1,
        max_overflow=0,
        connect_args=_sqlite_arguments(),
        execution_options={NAMED: str(named or file)},
    )
    _prepare_sqlite(engine, _BULK_PRAGMAS if bulk else _WRITER_PRAGMAS, begin="BEGIN IMMEDIATE")
    return engine


def settle_bulk(file: Path) -> None:
    """Puts on disk what a `bulk` writer, which is closed by now, has left to the operating system."""
    with file.open("rb+") as written:
        os.fsync(written.fileno())


def is_current(engine: Engine) -> bool:
    """Whether the engine's SQLite file still is the read model. PostgreSQL's tables are swapped under their names."""
    named = engine.get_execution_options().get(NAMED)
    return named is None or str(present_file(named)) == engine.url.database


def present_file(named: str) -> Path:
    """The SQLite file that is the read model now."""
    try:
        generation = pointer_to(named).read_text()
    except FileNotFoundError:
        return Path(named)
    return generation_file(named, generation)


def generation_file(named: str | Path, generation: str) -> Path:
    return Path(f"{named}.{generation}")


def pointer_to(named: str | Path) -> Path:
    return Path(f"{named}.current")


class ReadModelReader:
    """Connections that only read the read model, wherever it is now. From any thread."""

    def __init__(self, database_url: str, connections: int) -> None:
        self._url, self._connections = database_url, connections
        url = _checked(database_url)
        is_file = url.get_backend_name() == "sqlite"
        self._pointer = pointer_to(url.database or "") if is_file else None
        self._seen = self._look()
        self._engine = reader_engine(database_url, connections)
        self._changing = threading.Lock()

    def connect(self) -> Connection:
        if self._pointer is not None and self._look() != self._seen:
            self._follow()
        return self._engine.connect()

    def close(self) -> None:
        self._engine.dispose()

    def _look(self) -> tuple[int, int] | None:
        if self._pointer is None:
            return None
        try:
            found = self._pointer.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _follow(self) -> None:
        with self._changing:
            seen = self._look()
            if seen != self._seen:
                before, self._engine = self._engine, reader_engine(self._url, self._connections)
                self._seen = seen
                before.dispose()


def reader_engine(database_url: str, connections: int) -> Engine:
    """`connections` connections that only read. A SQLite file that is not there yet is an error, not made."""
    url = _checked(database_url)
    if url.get_backend_name() == "postgresql":
        return _postgresql(url, connections, "BEGIN READ ONLY", _READER_SETTINGS)
    file = f"file:{quote(str(present_file(url.database or '')))}"
    engine = create_engine(
        URL.create(url.drivername, database=file, query={"mode": "ro", "uri": "true"}),
        pool_size=connections,
        max_overflow=0,
        connect_args=_sqlite_arguments(),
    )
    _prepare_sqlite(engine, _READER_PRAGMAS, begin="BEGIN")
    return engine


def _checked(database_url: str) -> URL:
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise SettingsInvalid("DATABASE_URL is not a database URL") from error
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername in ("sqlite", "postgresql+psycopg"):
        return url
    raise SettingsInvalid(f"DATABASE_URL must be of sqlite or postgresql, not {url.drivername}")


def _postgresql(url: URL, connections: int, begin: str, settings: Mapping[str, str]) -> Engine:
    """`settings` hold from `begin` to the transaction's end.

    A pooler (PgBouncer in transaction mode) gives each transaction another session, and may drop what a client sets
    when it connects. So nothing is set for a session, nothing prepared in one, and a transaction begins with all that
    it needs, in the one statement that begins it. The driver would send a BEGIN of its own unless it took each
    statement for a transaction (`autocommit`); COMMIT and ROLLBACK it sends where one is open.
    `paramstyle=format`: rows go to the driver as tuples, in the order of the columns.
    """
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "atlas"}
    arguments |= {"prepare_threshold": None, "autocommit": True}
    engine = create_engine(
        url, paramstyle="format", pool_size=connections, max_overflow=0, pool_pre_ping=True, connect_args=arguments
    )
    _begin_with(engine, "; ".join([begin, *(f"SET LOCAL {name} = {value}" for name, value in settings.items())]))
    return engine


def _sqlite_arguments() -> dict[str, Any]:
    """`isolation_level=None`: we begin transactions, not the driver; connections move between a pool's threads."""
    return {"isolation_level": None, "check_same_thread": False, "timeout": SQLITE_BUSY_MS / 1_000}


def _prepare_sqlite(engine: Engine, pragmas: tuple[str, ...], begin: str) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    _begin_with(engine, begin)


def _begin_with(engine: Engine, begin: str) -> None:
    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Any) -> None:
        connection.exec_driver_sql(begin)
