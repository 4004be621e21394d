"""Who changed what, and what came of it."""

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Index, Table, Text

from schemas.read_model.tables import Rules, metadata

RETENTION_DAYS = 400
"""As long as the topic `audit` keeps its records."""


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
    Index("ix_audit_log_at", "at_ms"),
    info={"rules": Rules(time="at_ms", kept_days=RETENTION_DAYS)},
    sqlite_with_rowid=False,
)
