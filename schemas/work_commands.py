"""What may be asked about projects and tasks; decided in processors/work. Answers are what the API answers, as they
are: `schemas.work.item_body` of the item. Limits of length are the gateway's to tell of (schemas/commands.py).

`if_versions`: the item must have one of these versions; None: any. Otherwise 409 `version_conflict`.
"""

from typing import ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from schemas.log_records import AdmittedRecord
from schemas.payload import Payload
from schemas.work import Priority, TaskStatus


class CreateProject(Payload, frozen=True, kw_only=True):
    """Answer 201."""

    kind: ClassVar[str] = "project.create"
    name: str
    description: str | None = None


class UpdateProject(Payload, frozen=True, kw_only=True):
    """What is unset stays. Answer 200. 404 `project_not_found`; 409."""

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
    """What is unset stays. Answer 200. 404 `task_not_found`; 409; 422 `unknown_task`, `cyclic_dependency`,
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
    """The subscription gets an event once more. `source`: the event's record. Answer 202. 404 `webhook_not_found`.

    409 `replay_limit_reached`.
    """

    kind: ClassVar[str] = "webhook.replay"
    id: str
    event_id: str
    source: AdmittedRecord


class ReserveAnswer(Payload, frozen=True, kw_only=True):
    """An operation whose answer takes a while begins under the command's idempotency key, for RESERVED_MS at most.

    Answer: outcome RESERVED, body `Reserved`: to the first the command's own id, to a repeat the first one's, or what
    the first one came to.
    """

    kind: ClassVar[str] = "answer.reserve"
    id: str  # the operation: the key stands for it


class CompleteAnswer(Payload, frozen=True, kw_only=True):
    """What the reserved operation came to; None: it failed, and the key is free. Answer 204."""

    kind: ClassVar[str] = "answer.complete"
    reservation: str
    body: str | None


class Reserved(msgspec.Struct, frozen=True):
    """`command`: the id of the command that holds the key."""

    command: str


RESERVED = "reserved"
RESERVED_MS = 150_000

WORK_PAYLOADS: tuple[type[Payload], ...] = (
    *(CreateProject, UpdateProject, CreateTask, UpdateTask, DeleteTask),
    *(TryWebhook, ReplayWebhook, ReserveAnswer, CompleteAnswer),
)
WorkPayload = CreateProject | UpdateProject | CreateTask | UpdateTask | DeleteTask
