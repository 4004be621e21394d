"""Projects and tasks, the items of AtlasWork: their state on `items`, how they are shown, which events tell of them.

`items` has one writer, the control agent; each record is the whole state of one item (key `kind/id`, an `Entity`)
and no value where it was deleted. Projection alone reads it. Sources: the AtlasWork document; W-048 to W-057.
"""

from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from schemas.entities import State
from schemas.records import Entity
from schemas.times import rfc3339
from schemas.topics import WORK_STREAM

SURFACE = "work"
STREAM = WORK_STREAM
"""The system stream that has an event of every change."""
PROJECT, TASK = "prj_", "tsk_"
NAME_CHARACTERS_MAX, TITLE_CHARACTERS_MAX, DESCRIPTION_CHARACTERS_MAX = 200, 500, 20_000
ASSIGNEE_CHARACTERS_MAX = 128
DEPENDS_ON_MAX = 100
GRAPH_TASKS_MAX = 5_000
"""Tasks that a new dependency may lead to, over all others: so many are looked at for a cycle."""
VERSION_MAX = 2**53 - 1
"""What a JSON reader of any language keeps whole. No task gets there."""


class Priority(StrEnum):
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    URGENT = "URGENT"


class TaskStatus(StrEnum):
    TODO = "TODO"
    IN_PROGRESS = "IN_PROGRESS"
    DONE = "DONE"
    CANCELLED = "CANCELLED"


class WorkEvent(StrEnum):
    """What webhooks can subscribe to, in addition to `webhook.test`."""

    TASK_CREATED = "task.created"
    TASK_UPDATED = "task.updated"
    TASK_DELETED = "task.deleted"
    PROJECT_CREATED = "project.created"
    PROJECT_UPDATED = "project.updated"


TEST = "webhook.test"
"""What a webhook gets when it is asked for."""


class Item(State, frozen=True, kw_only=True):
    """`version` counts an item's changes, from 1. `sequence`: the number of its creation in the workspace's order of
    commands; lists are in this order."""

    environment: str
    description: str | None = None
    version: int = 1
    updated_ms: int
    sequence: int


class Project(Item, frozen=True, kw_only=True):
    kind: ClassVar[str] = "project"
    name: str


class Task(Item, frozen=True, kw_only=True):
    """`due_on`: RFC 3339 as it was sent, `due_ms` the same. `depends_on`: ids of tasks of the same project."""

    kind: ClassVar[str] = "task"
    project_id: str
    title: str
    priority: Priority = Priority.MEDIUM
    status: TaskStatus = TaskStatus.TODO
    due_on: str | None = None
    due_ms: int | None = None
    assignee_id: str | None = None
    depends_on: list[str] = []


ITEMS: dict[str, type[Item]] = {item.kind: item for item in (Project, Task)}


def item_of(entity: Entity) -> Item | None:
    """None for what is no item, or one of a newer writer."""
    kind = ITEMS.get(entity.kind)
    return None if kind is None else kind.of(entity)


class Passed(msgspec.Struct, frozen=True):
    """How far the items on a partition reach into the same partition of `commands`: every command below the offset.

    It follows the items of each batch (key PASSED_KEY), so that a read can wait for a command that it depends on.
    """

    next_offset: int


PASSED_KIND = "passed"


def passed_entity(next_offset: int) -> Entity:
    state = msgspec.json.encode(Passed(next_offset))
    return Entity(kind=PASSED_KIND, id="commands", workspace="", version=next_offset, state=state)


def project_view(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "description": project.description,
        "version": project.version,
        "createdAt": rfc3339(project.created_ms),
        "updatedAt": rfc3339(project.updated_ms),
    }


def task_view(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "projectId": task.project_id,
        "title": task.title,
        "description": task.description,
        "priority": task.priority,
        "status": task.status,
        "dueOn": task.due_on,
        "assigneeId": task.assignee_id,
        "dependsOn": task.depends_on,
        "version": task.version,
        "createdAt": rfc3339(task.created_ms),
        "updatedAt": rfc3339(task.updated_ms),
    }


def item_view(item: Item) -> dict[str, Any]:
    match item:
        case Project():
            return project_view(item)
        case Task():
            return task_view(item)
    raise TypeError(item.kind)


def item_body(item: Item) -> bytes:
    """The answer's body: the same bytes when a request is repeated under its key, and when it is read."""
    return msgspec.json.encode(item_view(item))
