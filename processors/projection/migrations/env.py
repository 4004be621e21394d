"""Alembic runs this file: it hands over the connection that migrate.py (or a test) opened."""

from alembic import context

from schemas.read_model import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
