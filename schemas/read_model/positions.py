"""The read model itself: which one it is, and how far on the log it reaches."""

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Table, Text

from schemas.read_model.tables import Rules, metadata


class ReadModelState(NamedTuple):
    """The read model itself, one row. `generation` differs in each rebuilt database (`atlas rebuild`)."""

    number: int
    generation: str
    transactions: int


read_model_state = Table(
    "read_model_state",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("generation", Text, nullable=False),
    Column("transactions", BigInteger, nullable=False),
)


class LogPosition(NamedTuple):
    """How far projection has applied one of its own topics: every record below `next_offset`."""

    topic: str
    partition: int
    next_offset: int


log_positions = Table(
    "log_positions",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
    info={"rules": Rules("next_offset")},
    sqlite_with_rowid=False,
)


class SourcePosition(NamedTuple):
    """How far the decisions shown here reach into a stream's topic: every gateway's record below `next_offset`.

    Direct Kafka producers' records don't count: one on a wrong partition is decided outside of its partition's order.
    """

    topic: str
    partition: int
    topic_id: str
    next_offset: int
    log_offset: int


source_positions = Table(
    "source_positions",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
    Column("topic_id", Text, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    info={"rules": Rules("log_offset")},
    sqlite_with_rowid=False,
)
