"""Connections to the read model: one place knows how SQLite and PostgreSQL want to be opened.

`writer_engine` is for projection (one writer at a time on SQLite), `reader_engine` for gateways: its connections can't
write. Raises SettingsInvalid for a DATABASE_URL of any other kind.

SQLite runs in WAL mode: readers never wait for the writer, nor it for them. `synchronous=NORMAL` may lose the last
transactions in a power cut, rows and positions together, so projection reads them from the log again.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from operations.settings import SettingsInvalid

SQLITE_BUSY_MS = 1_000
SQLITE_CACHE_KIB = 65_536
CONNECT_TIMEOUT_SECONDS = 3
_WRITER_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "temp_store=MEMORY",
    f"cache_size=-{SQLITE_CACHE_KIB}",
    "wal_autocheckpoint=4000",
)
_READER_PRAGMAS = ("query_only=ON", "temp_store=MEMORY")


def writer_engine(database_url: str) -> Engine:
    """One connection, transactions that take the write lock when they begin."""
    url = _checked(database_url)
    if url.get_backend_name() == "postgresql":
        return _postgresql(url, connections=1)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, pool_size=1, max_overflow=0, connect_args=_sqlite_arguments())
    _prepare_sqlite(engine, _WRITER_PRAGMAS, begin="BEGIN IMMEDIATE")
    return engine


def reader_engine(database_url: str, connections: int) -> Engine:
    """`connections` connections that only read. A SQLite file that is not there yet is an error, not made."""
    url = _checked(database_url)
    if url.get_backend_name() == "postgresql":
        return _postgresql(url, connections, options="-c default_transaction_read_only=on")
    file = f"file:{quote(url.database or '')}"
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


def _postgresql(url: URL, connections: int, options: str = "") -> Engine:
    """`paramstyle=format`: rows go to the driver as tuples, in the order of the columns."""
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "atlas"}
    if options:
        arguments["options"] = options
    return create_engine(
        url, paramstyle="format", pool_size=connections, max_overflow=0, pool_pre_ping=True, connect_args=arguments
    )


def _sqlite_arguments() -> dict[str, Any]:
    """`isolation_level=None`: we begin transactions, not the driver; connections move between a pool's threads."""
    return {"isolation_level": None, "check_same_thread": False, "timeout": SQLITE_BUSY_MS / 1_000}


def _prepare_sqlite(engine: Engine, pragmas: tuple[str, ...], begin: str) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Any) -> None:
        connection.exec_driver_sql(begin)
