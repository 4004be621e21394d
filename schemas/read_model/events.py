"""Events, their attempts, the keys of their metadata, and ids that lost against an earlier event."""

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, text

from schemas.commands.streams import RETENTION_DAYS_MAX
from schemas.read_model.tables import Rules, metadata


class EventRow(NamedTuple):
    """An admitted event: all but its payload, which is on the log at (`source_topic`, partition, offset).

    Admitted again after its key's 24 hours, it is one row with the newest admission's time and source.

    `status` follows from the attempts (domain/events/status.py) and is kept by the transaction that writes them.
    `number` counts in the order in which rows became readable: that of the transaction, then the index in it
    (NUMBER_BITS). Who pages finds by it what came late.
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
    scope: int  # of workspace and environment (keys.py)
    number: int = 0


NUMBER_BITS = 20
"""The bits of the index within a transaction."""

events = Table(
    "events",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("id", Text, nullable=False),
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
    Column("scope", BigInteger, nullable=False),
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Index("ux_events_id", "id", unique=True),
    Index("ix_events_received", "scope", "received_ms"),
    Index("ix_events_stream", "scope", "stream", "received_ms"),
    Index("ix_events_type", "scope", "type", "received_ms"),
    Index(
        "ix_events_open",
        *("scope", "status", "received_ms"),
        sqlite_where=text("status <> 'delivered'"),
        postgresql_where=text("status <> 'delivered'"),
    ),
    info={"rules": Rules("received_ms", key=("id",))},
)
"""Ids hold a hash of their workspace and environment, so one id is one event wherever it is."""


class MetadataRow(NamedTuple):
    """One key of an event's metadata with its value (`term_of`), for the filter `metadata.<key>`.

    Rows of an earlier admission stay until retention: those whose `received_ms` is not the event's don't count.
    """

    term: int
    received_ms: int
    id: str


events_metadata = Table(
    "events_metadata",
    metadata,
    Column("term", BigInteger, primary_key=True, autoincrement=False),
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
    Column("workspace", Text, nullable=False),
    Column("environment", Text, nullable=False),
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
