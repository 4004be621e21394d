"""Pages of an organization's breaches, newest first."""

import hashlib
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, select

from schemas.read_model import guardrail_breaches


class BreachFilter(msgspec.Struct, frozen=True, array_like=True):
    """Times: from inclusive, to exclusive."""

    layer: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def bound_to(self, workspace: str) -> bytes:
        """What a cursor of this list holds for."""
        return hashlib.sha256(msgspec.json.encode(["breaches", workspace, self])).digest()


class BreachPage(NamedTuple):
    """`next_place`: the id behind which the next page begins; None at the end."""

    rows: list[Row[Any]]
    next_place: str | None


def breach_page(
    connection: Connection, workspace: str, chosen: BreachFilter, before: str | None, limit: int
) -> BreachPage:
    """An id begins with its time, so ids are the order."""
    table = guardrail_breaches
    statement = select(table).where(table.c.workspace == workspace).order_by(table.c.id.desc()).limit(limit + 1)
    if before is not None:
        statement = statement.where(table.c.id < before)
    if chosen.layer is not None:
        statement = statement.where(table.c.layer == chosen.layer)
    if chosen.from_ms is not None:
        statement = statement.where(table.c.at_ms >= chosen.from_ms)
    if chosen.to_ms is not None:
        statement = statement.where(table.c.at_ms < chosen.to_ms)
    rows = list(connection.execute(statement).all())
    return BreachPage(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)
