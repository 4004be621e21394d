"""The entities of `control` as they are now: streams, workflows, endpoints, keys and so on."""

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Index, Table, Text

from schemas.read_model.tables import Rules, metadata


class EntityRow(NamedTuple):
    """`state`: a JSON object, by kind a struct of schemas/entities.py, without a key's hash.

    `id` is unique over all workspaces (`State.entity_id`). An entity that is gone has no row. `log_offset`: on its
    partition of `control`.
    """

    kind: str
    id: str
    workspace: str
    environment: str  # empty where it belongs to both
    version: int
    state: str
    log_offset: int


entities = Table(
    "entities",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Index("ix_entities_owner", "workspace", "environment", "kind", "id"),
    info={"rules": Rules("log_offset", compacted=True)},
    sqlite_with_rowid=False,
)
