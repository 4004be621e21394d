"""The read model's tables (SQLAlchemy Core), their indexes and rows: what projection writes and the gateway reads.

One definition for SQLite and PostgreSQL; processors/projection/migrations makes them. A row is a named tuple in the
order of its table's columns, so that it goes to the driver as it is. JSON stands as text, its bytes as they were sent.

A record never overwrites what a later one wrote, so applying any batch once more changes nothing: of two admissions of
an event the one received later counts (they are 24 hours apart), else the record that stands later on its partition
(`log_offset`). Everything here can be made anew from the log.
"""

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, Table, Text, text

metadata = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"},
)


class EventRow(NamedTuple):
    """An admitted event: all but its payload, which stands on the log at (`source_topic`, partition, offset).

    Admitted again after its key's 24 hours, it is one row with the newest admission's time and source.

    `status` follows from the attempts (schemas/event_status.py) and is kept by the transaction that writes them.
    `seq` is the number of the transaction that made the row readable: who pages finds what came late by it.
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
    status: str
    seq: int = 0


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
    Column("status", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Index("ix_events_received", "workspace", "environment", "received_ms", "id"),
    Index("ix_events_stream", "workspace", "environment", "stream", "received_ms", "id"),
    Index("ix_events_type", "workspace", "environment", "type", "received_ms", "id"),
    Index(
        "ix_events_open",
        *("workspace", "environment", "status", "received_ms", "id"),
        sqlite_where=text("status <> 'delivered'"),
        postgresql_where=text("status <> 'delivered'"),
    ),
    Index("ix_events_seq", "seq", "workspace", "environment", "received_ms"),
)


class MetadataRow(NamedTuple):
    """One key of an event's metadata, for the filter `metadata.<key>`; a number or boolean stands as its JSON.

    Rows of an earlier admission stay until retention: those whose `received_ms` is not the event's don't count.
    """

    workspace: str
    environment: str
    key: str
    value: str
    received_ms: int
    id: str


events_metadata = Table(
    "events_metadata",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("received_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, primary_key=True),
    sqlite_with_rowid=False,
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
    Index("ix_event_conflicts_received", "received_ms"),
    sqlite_with_rowid=False,
)


class AuditRow(NamedTuple):
    """One change that somebody asked for, and what came of it. All of a workspace stand on one partition of `audit`,
    so `log_offset` is their order.
    """

    workspace: str
    id: str
    environment: str
    log_offset: int
    at_ms: int
    actor: str
    action: str
    route: str
    resource: str
    outcome: str
    request_id: str
    address: str


audit_log = Table(
    "audit_log",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    *(Column(name, Text, nullable=False) for name in AuditRow._fields[5:]),
    Index("ix_audit_log_order", "workspace", "environment", "log_offset"),
    sqlite_with_rowid=False,
)


class State(NamedTuple):
    """The read model itself, one row. `generation` is another in each database made anew (`atlas rebuild`)."""

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
    events_metadata: MetadataRow,
    event_conflicts: ConflictRow,
    audit_log: AuditRow,
    log_positions: LogPosition,
    source_positions: SourcePosition,
}
"""Every table that is made of the log's records."""
