"""The breaches ledger: what tripped which guardrail, and what was done."""

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Double, Index, Table, Text

from schemas.read_model.audit import RETENTION_DAYS
from schemas.read_model.tables import Rules, metadata


class BreachRow(NamedTuple):
    """An entry of `audit` that says what a layer found. `calls`: JSON (schemas.guardrail_breaches.CallSeen)."""

    workspace: str
    id: str
    log_offset: int
    at_ms: int
    observed: float
    threshold: float
    layer: str
    mode: str
    outcome: str
    reason: str
    scope: str
    scope_id: str
    key_id: str
    session_id: str
    fingerprint: str
    calls: str
    request_id: str


guardrail_breaches = Table(
    "guardrail_breaches",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("log_offset", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("observed", Double, nullable=False),
    Column("threshold", Double, nullable=False),
    *(Column(name, Text, nullable=False) for name in BreachRow._fields[6:]),
    Index("ix_guardrail_breaches_at", "at_ms"),
    info={"rules": Rules(time="at_ms", kept_days=RETENTION_DAYS)},
    sqlite_with_rowid=False,
)
