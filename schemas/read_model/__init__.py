"""The read model's tables (SQLAlchemy Core), their indexes and rows: what projection writes and the gateway reads.

One definition for SQLite and PostgreSQL; processors/projection/migrations makes them. A row is a named tuple in the
order of its table's columns, so that it goes to the driver as it is. JSON is stored as text, its bytes as they were
sent.

A record never overwrites what a later one wrote, so applying any batch once more changes nothing: of two admissions of
an event the one received later counts (they are 24 hours apart), else the later record on its partition
(`log_offset`). Everything here can be rebuilt from the log. How to add a table: processors/projection/projectors.
"""

from typing import NamedTuple

from sqlalchemy import Table

from schemas.read_model.audit import AuditRow, audit_log
from schemas.read_model.breaches import BreachRow, guardrail_breaches
from schemas.read_model.calls import CallRow, model_calls
from schemas.read_model.entities import EntityRow, entities
from schemas.read_model.events import (
    NUMBER_BITS,
    AttemptRow,
    ConflictRow,
    EventRow,
    MetadataRow,
    attempts,
    event_conflicts,
    events,
    events_metadata,
)
from schemas.read_model.keys import scope_of, term_of
from schemas.read_model.positions import (
    LogPosition,
    ReadModelState,
    SourcePosition,
    log_positions,
    read_model_state,
    source_positions,
)
from schemas.read_model.tables import Rules, key_of, metadata, rules_of
from schemas.read_model.work import (
    ProjectRow,
    TaskRow,
    WebhookDeliveryRow,
    projects,
    tasks,
    webhook_deliveries,
)

__all__ = [
    "NUMBER_BITS",
    "ROWS",
    "AttemptRow",
    "AuditRow",
    "BreachRow",
    "CallRow",
    "ConflictRow",
    "EntityRow",
    "EventRow",
    "LogPosition",
    "MetadataRow",
    "ProjectRow",
    "ReadModelState",
    "Rules",
    "SourcePosition",
    "TaskRow",
    "WebhookDeliveryRow",
    "attempts",
    "audit_log",
    "entities",
    "event_conflicts",
    "events",
    "events_metadata",
    "guardrail_breaches",
    "key_of",
    "log_positions",
    "metadata",
    "model_calls",
    "projects",
    "read_model_state",
    "rules_of",
    "scope_of",
    "source_positions",
    "tasks",
    "term_of",
    "webhook_deliveries",
]

ROWS: dict[Table, type[NamedTuple]] = {
    events: EventRow,
    attempts: AttemptRow,
    events_metadata: MetadataRow,
    event_conflicts: ConflictRow,
    audit_log: AuditRow,
    guardrail_breaches: BreachRow,
    model_calls: CallRow,
    entities: EntityRow,
    projects: ProjectRow,
    tasks: TaskRow,
    webhook_deliveries: WebhookDeliveryRow,
    source_positions: SourcePosition,
    log_positions: LogPosition,
}
"""Every table that is made of the log's records, in the order in which a transaction writes them."""
