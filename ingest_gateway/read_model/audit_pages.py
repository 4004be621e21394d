"""Pages of the audit log of one workspace and environment, oldest first: in the order of its partition of `audit`."""

import hashlib
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BindParameter, Connection, Row, bindparam, text


class AuditFilter(msgspec.Struct, frozen=True, array_like=True):
    """Times: from inclusive, to exclusive."""

    actor: str | None = None
    action: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def bound_to(self, workspace: str, environment: str) -> bytes:
        """What a cursor of this list holds for."""
        return hashlib.sha256(msgspec.json.encode(["audit", workspace, environment, self])).digest()


class AuditReach(NamedTuple):
    """All that a limited key is shown: what it did itself, and what was done to these."""

    actor: str
    resources: tuple[str, ...]


class AuditPage(NamedTuple):
    """`next_offset`: behind which record of `audit` the next page begins; None at the end."""

    rows: list[Row[Any]]
    next_offset: int | None


def audit_page(
    connection: Connection,
    workspace: str,
    environment: str,
    chosen: AuditFilter,
    after: int,
    limit: int,
    reach: AuditReach | None = None,
) -> AuditPage:
    conditions = ["workspace = :workspace", "environment = :environment", "log_offset > :after"]
    values: dict[str, object] = {"workspace": workspace, "environment": environment, "after": after}
    for condition, name, value in (
        ("actor = :actor", "actor", chosen.actor),
        ("action = :action", "action", chosen.action),
        ("at_ms >= :from_ms", "from_ms", chosen.from_ms),
        ("at_ms < :to_ms", "to_ms", chosen.to_ms),
    ):
        if value is not None:
            conditions.append(condition)
            values[name] = value
    named: list[BindParameter[Any]] = []
    if reach is not None:
        conditions.append("(actor = :own OR resource IN :resources)")
        values |= {"own": reach.actor, "resources": reach.resources}
        named.append(bindparam("resources", expanding=True))
    written = f"SELECT * FROM audit_log WHERE {' AND '.join(conditions)} ORDER BY log_offset LIMIT {limit + 1:d}"
    rows = list(connection.execute(text(written).bindparams(*named), values).all())
    if len(rows) <= limit:
        return AuditPage(rows, None)
    return AuditPage(rows[:limit], rows[limit - 1].log_offset)
