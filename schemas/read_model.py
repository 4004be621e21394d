"""The read model's tables (SQLAlchemy Core) and their rows: what projection writes and the gateway reads.

One definition for SQLite and PostgreSQL; processors/projection/migrations makes them. A row is a named tuple in the
order of its table's columns, so that it goes to the driver as it is. JSON stands as text, its bytes as they were sent.

A record never overwrites what a later one wrote, so applying any batch once more changes nothing: of two admissions of
an event the one received later counts (they are 24 hours apart), else the record that stands later on its partition
(`log_offset`). Everything here can be made anew from the log.
"""

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text

metadata = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"},
)


class EventRow(NamedTuple):
    """An admitted event: all but its payload, which stands on the log at (`source_topic`, partition, offset).

    Admitted again after its key's 24 hours, it is one row with the newest admission's time and source.
    """

    workspace: str
    environment: str
    id: str
    stream: str
    type: str
    received_ms: int
    occurred_at: str  # as sent
    idempotency_key: str | None
    actor: str | None  # a JSON object
    metadata: str | None  # a JSON object
    routes: str  # a JSON array of workflow ids, the default routes first and in their order
    data_bytes: int
    source_topic: str
    source_topic_id: str
    source_partition: int
    source_offset: int


events = Table(
    "events",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("stream", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("occurred_at", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("actor", Text),
    Column("metadata", Text),
    Column("routes", Text, nullable=False),
    Column("data_bytes", BigInteger, nullable=False),
    Column("source_topic", Text, nullable=False),
    Column("source_topic_id", Text, nullable=False),
    Column("source_partition", BigInteger, nullable=False),
    Column("source_offset", BigInteger, nullable=False),
)


class AttemptRow(NamedTuple):
    """What one attempt of one delivery came to.

    A delivery is one route of one admission (`received_ms`) or replay of an event; its id tells them apart, so an
    event that was admitted twice keeps both histories.
    """

    workspace: str
    environment: str
    event_id: str
    delivery_id: str
    attempt: int
    workflow_id: str
    replay: int
    status: str  # a route's state: schemas/avro/Outcome.avsc
    received_ms: int  # of the admission that asked for it; 0 where the outcome doesn't say
    started_ms: int
    completed_ms: int
    http_status: int | None
    error_code: str | None
    error_message: str | None
    next_attempt_ms: int | None
    response_excerpt: bytes | None
    log_offset: int


attempts = Table(
    "attempts",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("delivery_id", Text, primary_key=True),
    Column("attempt", BigInteger, primary_key=True, autoincrement=False),
    Column("workflow_id", Text, nullable=False),
    Column("replay", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("completed_ms", BigInteger, nullable=False),
    Column("http_status", BigInteger),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("next_attempt_ms", BigInteger),
    Column("response_excerpt", LargeBinary),
    Column("log_offset", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


class ConflictRow(NamedTuple):
    """An id that was given out before its verdict came, and lost: the key belongs to `original_id`."""

    workspace: str
    environment: str
    event_id: str
    original_id: str
    received_ms: int


event_conflicts = Table(
    "event_conflicts",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("original_id", Text, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
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
    sqlite_with_rowid=False,
)


class SourcePosition(NamedTuple):
    """How far the decisions shown here reach into a stream's topic: every gateway's record below `next_offset`.

    Direct Kafka producers' records don't count: one on a wrong partition is decided beside its partition's order.
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
    sqlite_with_rowid=False,
)

ROWS: dict[Table, type[NamedTuple]] = {
    events: EventRow,
    attempts: AttemptRow,
    event_conflicts: ConflictRow,
    log_positions: LogPosition,
    source_positions: SourcePosition,
}
