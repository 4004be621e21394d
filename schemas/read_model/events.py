"""Events, their attempts, the keys of their metadata, and ids that lost against an earlier event."""

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text, text

from schemas.commands import RETENTION_DAYS_MAX
from schemas.read_model.tables import Rules, metadata


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
    info={"rules": Rules("received_ms")},
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
    info={"rules": Rules()},
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
    info={"rules": Rules("log_offset")},
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
    info={"rules": Rules("received_ms", time="received_ms", kept_days=RETENTION_DAYS_MAX)},
    sqlite_with_rowid=False,
)
