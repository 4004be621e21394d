"""The migrations make just the tables that schemas/read_model names, on both databases."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from operations.read_model_engine import reader_engine, writer_engine
from operations.settings import SettingsInvalid
from processors.projection.store import Store
from schemas.read_model import ROWS, metadata

ROOT = Path(__file__).parents[3]


def test_migrated_tables_are_those_of_the_code(store: Store, database_url: str) -> None:
    engine = reader_engine(database_url, 1)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        inspector = inspect(connection)
        for table in ROWS:
            key = inspector.get_pk_constraint(table.name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key.columns]
    engine.dispose()


PREPARE = """
import sys
from operations.read_model_engine import writer_engine
from processors.projection.store import Store

store = Store(writer_engine(sys.argv[1]))
store.prepare()
store.prepare()
"""


def test_every_start_may_migrate_and_those_at_once_wait_for_each_other(database_url: str) -> None:
    starting = [subprocess.Popen([sys.executable, "-c", PREPARE, database_url], cwd=ROOT) for _ in range(3)]
    assert [process.wait() for process in starting] == [0, 0, 0]
    store = Store(writer_engine(database_url))
    assert store.positions() == {}
    store.close()


@pytest.mark.parametrize("url", ["mysql://atlas@localhost/atlas", "postgresql+asyncpg://localhost/x", "not a url", ""])
def test_any_other_database_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="DATABASE_URL"):
        writer_engine(url)
    with pytest.raises(SettingsInvalid, match="DATABASE_URL"):
        reader_engine(url, 1)
