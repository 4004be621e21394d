"""Every test of this folder that takes `database_url` runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from operations.read_model_engine import writer_engine
from processors.projection.store import Store

if TYPE_CHECKING:
    from tests.support.postgresql import Server


@pytest.fixture(scope="session")
def postgresql_server() -> "Iterator[Server]":
    pytest.importorskip("psycopg", reason="psycopg, the driver for PostgreSQL, is not installed here")
    from tests.support import postgresql

    programs = postgresql.binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    server = postgresql.Server(programs)
    server.start()
    yield server
    server.stop()
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database that this test alone uses."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'read model.sqlite'}"
        return
    server: Server = request.getfixturevalue("postgresql_server")
    url = server.new_database()
    yield url
    server.drop(url)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """The writer, its tables made."""
    store = Store(writer_engine(database_url))
    store.prepare()
    yield store
    store.close()
