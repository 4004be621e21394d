"""Projects and tasks as they are now."""

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
    """The columns beside `body` are what a list can be filtered by."""

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
