"""Commands about projects and tasks, and about trying the work surface's webhooks. Rules: domain/work.

An answer's body is what the API answers: `schemas.work.item_body` of the item. The gateway checks lengths of texts.
`if_versions`: the item must have one of these versions (None: any), else 409 `version_conflict`.
"""

from typing import ClassVar

from msgspec import UNSET, UnsetType

from schemas.commands.payload import Payload
from schemas.log_records import AdmittedRecord
from schemas.work import Priority, TaskStatus


class CreateProject(Payload, frozen=True, kw_only=True):
    """Answer 201."""

    kind: ClassVar[str] = "project.create"
    name: str
    description: str | None = None


class UpdateProject(Payload, frozen=True, kw_only=True):
    """An unset field keeps its value. Answer 200. 404 `project_not_found`; 409."""

    kind: ClassVar[str] = "project.update"
    id: str
    if_versions: list[int] | None = None
    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class CreateTask(Payload, frozen=True, kw_only=True):
    """Answer 201. 422 `unknown_project`, `unknown_task`."""

    kind: ClassVar[str] = "task.create"
    project_id: str
    title: str
    description: str | None = None
    priority: Priority = Priority.MEDIUM
    status: TaskStatus = TaskStatus.TODO
    due_on: str | None = None
    due_ms: int | None = None
    assignee_id: str | None = None
    depends_on: list[str] = []


class UpdateTask(Payload, frozen=True, kw_only=True):
    """An unset field keeps its value. Answer 200. 404 `task_not_found`; 409; 422 `unknown_task`, `cyclic_dependency`,
    `dependency_graph_too_large`.
    """

    kind: ClassVar[str] = "task.update"
    id: str
    if_versions: list[int] | None = None
    title: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    priority: Priority | UnsetType = UNSET
    status: TaskStatus | UnsetType = UNSET
    due_on: str | UnsetType | None = UNSET
    due_ms: int | UnsetType | None = UNSET
    assignee_id: str | UnsetType | None = UNSET
    depends_on: list[str] | UnsetType = UNSET


class DeleteTask(Payload, frozen=True, kw_only=True):
    """Answer 204. 404 `task_not_found`; 409; 422 `task_has_dependents`."""

    kind: ClassVar[str] = "task.delete"
    id: str
    if_versions: list[int] | None = None


class TryWebhook(Payload, frozen=True, kw_only=True):
    """The subscription gets a `webhook.test`. Answer 202. 404 `webhook_not_found`."""

    kind: ClassVar[str] = "webhook.test"
    id: str


class ReplayWebhook(Payload, frozen=True, kw_only=True):
    """The subscription gets an event again. `source`: the event's record. Answer 202. 404 `webhook_not_found`.

    409 `replay_limit_reached`.
    """

    kind: ClassVar[str] = "webhook.replay"
    id: str
    event_id: str
    source: AdmittedRecord
