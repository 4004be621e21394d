"""Projects and tasks as they are now; what webhooks were sent."""

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Index, Table, Text

from schemas.read_model.tables import Rules, metadata


class ProjectRow(NamedTuple):
    """`sequence`: the order of lists (schemas.work.Item). `body`: the JSON that the API shows."""

    id: str
    workspace: str
    environment: str
    sequence: int
    body: str
    log_offset: int


class TaskRow(NamedTuple):
    """Lists can be filtered by the columns other than `body`."""

    id: str
    workspace: str
    environment: str
    sequence: int
    project_id: str
    status: str
    priority: str
    assignee_id: str | None
    due_ms: int | None
    body: str
    log_offset: int


projects = Table(
    "projects",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Index("ix_projects_order", "workspace", "environment", "sequence"),
    info={"rules": Rules("log_offset", compacted=True)},
    sqlite_with_rowid=False,
)
tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("assignee_id", Text),
    Column("due_ms", BigInteger),
    Column("body", Text, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Index("ix_tasks_order", "workspace", "environment", "sequence"),
    Index("ix_tasks_project", "workspace", "environment", "project_id", "sequence"),
    info={"rules": Rules("log_offset", compacted=True)},
    sqlite_with_rowid=False,
)


DELIVERIES_KEPT_DAYS = 97
"""As long as the topic `outcomes` keeps its records."""


class WebhookDeliveryRow(NamedTuple):
    """A delivery to one of the work surface's webhooks, as its newest attempt left it; in the order of ids that of
    time. `kind`: domain.delivery.webhooks.DeliveryKind; `webhook` is a test.
    """

    workspace: str
    environment: str
    webhook_id: str
    delivery_id: str
    event_id: str
    kind: str
    replay: int
    status: str
    attempt: int
    received_ms: int
    completed_ms: int
    http_status: int | None
    error_code: str | None
    error_message: str | None
    next_attempt_ms: int | None
    log_offset: int


webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("webhook_id", Text, primary_key=True),
    Column("delivery_id", Text, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("replay", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("completed_ms", BigInteger, nullable=False),
    Column("http_status", BigInteger),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("next_attempt_ms", BigInteger),
    Column("log_offset", BigInteger, nullable=False),
    Index("ix_webhook_deliveries_received", "received_ms"),
    info={"rules": Rules("log_offset", time="received_ms", kept_days=DELIVERIES_KEPT_DAYS)},
    sqlite_with_rowid=False,
)
