"""Projects and tasks, one or page by page, in the order of their creation. A page goes on behind a sequence number, so
a list is complete while others are made, changed and deleted.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Table, select

from schemas.read_model import projects, tasks


class WorkPage(NamedTuple):
    """`bodies`: JSON texts. `following`: the offset behind which the next page begins; None at the end."""

    bodies: list[str]
    following: int | None


@dataclass(frozen=True)
class TaskFilter:
    """None: any. `due_after_ms` inclusive, `due_before_ms` exclusive."""

    project_id: str | None = None
    status: str | None = None
    priority: str | None = None
    assignee_id: str | None = None
    due_after_ms: int | None = None
    due_before_ms: int | None = None

    def conditions(self) -> list[Any]:
        equal = {name: getattr(self, name) for name in ("project_id", "status", "priority", "assignee_id")}
        found = [tasks.c[name] == value for name, value in equal.items() if value is not None]
        if self.due_after_ms is not None:
            found.append(tasks.c.due_ms >= self.due_after_ms)
        if self.due_before_ms is not None:
            found.append(tasks.c.due_ms < self.due_before_ms)
        return found


def item_body(connection: Connection, table: Table, workspace: str, environment: str, item_id: str) -> str | None:
    question = select(table.c.body).where(
        table.c.id == item_id, table.c.workspace == workspace, table.c.environment == environment
    )
    return connection.execute(question).scalar()


def projects_page(connection: Connection, workspace: str, environment: str, after: int, limit: int) -> WorkPage:
    return _page(connection, projects, [], (workspace, environment), after, limit)


def tasks_page(
    connection: Connection, workspace: str, environment: str, chosen: TaskFilter, after: int, limit: int
) -> WorkPage:
    return _page(connection, tasks, chosen.conditions(), (workspace, environment), after, limit)


def _page(
    connection: Connection, table: Table, conditions: list[Any], scope: tuple[str, str], after: int, limit: int
) -> WorkPage:
    workspace, environment = scope
    question: Select[Any] = (
        select(table.c.sequence, table.c.body)
        .where(
            table.c.workspace == workspace,
            table.c.environment == environment,
            table.c.sequence > after,
            *conditions,
        )
        .order_by(table.c.sequence)
        .limit(limit + 1)
    )
    rows = connection.execute(question).fetchall()
    shown = rows[:limit]
    return WorkPage([row.body for row in shown], shown[-1].sequence if len(rows) > limit else None)
