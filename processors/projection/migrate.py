"""Brings the read model's tables to this version of the code (Alembic; the steps stand in migrations/versions).

Projection does it when it starts. Two that start at once wait for each other: on SQLite the transaction holds the write
lock, on PostgreSQL an advisory lock.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_KEY = 0x61746C6173  # "atlas"


def migrate(connection: Connection) -> None:
    """In the connection's transaction, which the caller commits."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
