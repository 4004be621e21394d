"""The rules of projects and tasks.

All changes to an item follow the order of the workspace's commands. So versions are compared and counted without a
lock, and nothing changes while dependencies are checked for a cycle. Each change makes an event on the system stream.
Rows of docs/requirements.md: W-048, W-050.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import UNSET

from domain.control.handlers import Handlers, RequestHandler
from domain.control.values import CommandChanges, CommandRefused, CommandRequest, Done
from domain.events.system_events import SystemEvent, about
from domain.work.dependencies import Links, check_dependencies, check_no_cycle
from schemas.commands.work import CreateProject, CreateTask, DeleteTask, UpdateProject, UpdateTask
from schemas.entities import Stream, StreamStatus
from schemas.errors import FieldError
from schemas.ids import derived_id
from schemas.work import PROJECT, STREAM, TASK, Item, Project, Task, WorkEvent, item_body

DEPENDENTS_NAMED_MAX = 20
NOT_CHANGED = frozenset({"id", "if_versions"})


class ItemFacts(Links, Protocol):
    """What a decision about an item looks up, in the partition of the command's workspace."""

    def project(self, workspace: str, environment: str, project_id: str) -> Project | None: ...

    def dependents(self, task_id: str) -> list[str]:
        """Ids of the tasks that depend on this task."""
        ...

    def stream_named(self, workspace: str, environment: str, name: str) -> Stream | None: ...


def create_project(facts: ItemFacts, request: CommandRequest, payload: CreateProject) -> Done:
    _stream_is_there(facts, request)
    command = request.command
    project = Project(
        id=derived_id(PROJECT, request.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        created_ms=request.append_ms,
        updated_ms=request.append_ms,
        sequence=request.version,
        **msgspec.structs.asdict(payload),
    )
    return _put(request, project, WorkEvent.PROJECT_CREATED, 201)


def update_project(facts: ItemFacts, request: CommandRequest, payload: UpdateProject) -> Done:
    _stream_is_there(facts, request)
    command = request.command
    before = facts.project(command.workspace, command.environment, payload.id)
    if before is None:
        raise CommandRefused(404, "project_not_found", f"There is no project {payload.id}.")
    _has_version(before, payload.if_versions)
    return _changed(request, before, _fields(payload), WorkEvent.PROJECT_UPDATED)


def create_task(facts: ItemFacts, request: CommandRequest, payload: CreateTask) -> Done:
    """Creates a task. No task depends on it yet, so it can't close a cycle."""
    _stream_is_there(facts, request)
    command = request.command
    if facts.project(command.workspace, command.environment, payload.project_id) is None:
        error = FieldError("projectId", f"There is no project {payload.project_id}.")
        raise CommandRefused(422, "unknown_project", "The task names a project that does not exist.", (error,))
    task = Task(
        id=derived_id(TASK, request.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        created_ms=request.append_ms,
        updated_ms=request.append_ms,
        sequence=request.version,
        **msgspec.structs.asdict(payload),
    )
    check_dependencies(facts, task)
    return _put(request, task, WorkEvent.TASK_CREATED, 201)


def update_task(facts: ItemFacts, request: CommandRequest, payload: UpdateTask) -> Done:
    _stream_is_there(facts, request)
    before = _task(facts, request, payload.id)
    _has_version(before, payload.if_versions)
    fields = _fields(payload)
    after = msgspec.structs.replace(before, **fields)
    if after.depends_on != before.depends_on:
        check_dependencies(facts, after)
        check_no_cycle(facts, after)
    return _changed(request, before, fields, WorkEvent.TASK_UPDATED)


def delete_task(facts: ItemFacts, request: CommandRequest, payload: DeleteTask) -> Done:
    _stream_is_there(facts, request)
    before = _task(facts, request, payload.id)
    _has_version(before, payload.if_versions)
    dependents = facts.dependents(before.id)
    if dependents:
        raise _has_dependents(dependents)
    data = msgspec.json.encode({"task": {"id": before.id, "projectId": before.project_id, "version": before.version}})
    entity = before.to_entity(request.version)
    event = about(entity, STREAM, WorkEvent.TASK_DELETED, request.append_ms, data)
    return Done(204, CommandChanges(items_gone=(entity,), events=(event,)), f"task/{before.id}")


def _changed(request: CommandRequest, before: Project | Task, fields: dict[str, object], kind: WorkEvent) -> Done:
    """The changes; a command that changes nothing makes no version and no event."""
    after = msgspec.structs.replace(before, **fields)
    if after == before:
        return Done(200, CommandChanges(), f"{before.kind}/{before.id}", item_body(before))
    after = msgspec.structs.replace(after, version=before.version + 1, updated_ms=request.append_ms)
    return _put(request, after, kind, 200)


def _put(request: CommandRequest, after: Item, kind: WorkEvent, status: int) -> Done:
    entity, body = after.to_entity(request.version), item_body(after)
    event = _event(request, after, kind, body)
    return Done(status, CommandChanges(items=(entity,), events=(event,)), f"{after.kind}/{after.id}", body)


def _event(request: CommandRequest, item: Item, kind: WorkEvent, body: bytes) -> SystemEvent:
    data = b'{"' + item.kind.encode() + b'":' + body + b"}"
    return about(item.to_entity(request.version), STREAM, kind, request.append_ms, data)


def _stream_is_there(facts: ItemFacts, request: CommandRequest) -> None:
    """Checks for the stream of changes, which the gateway creates before a workspace's first command."""
    command = request.command
    stream = facts.stream_named(command.workspace, command.environment, STREAM)
    if stream is None or stream.status is not StreamStatus.ACTIVE:
        raise CommandRefused(
            503, "work_stream_missing", "The workspace's system stream is not ready. Please try again."
        )


def _task(facts: ItemFacts, request: CommandRequest, task_id: str) -> Task:
    task = facts.task(request.command.workspace, request.command.environment, task_id)
    if task is None:
        raise CommandRefused(404, "task_not_found", f"There is no task {task_id}.")
    return task


def _has_version(item: Item, versions: list[int] | None) -> None:
    if versions is None or item.version in versions:
        return
    message = f"The {item.kind} has version {item.version} now. Read it again, merge, and send it with that version."
    raise CommandRefused(409, "version_conflict", message, facts={"currentVersion": item.version})


def _has_dependents(dependents: list[str]) -> CommandRefused:
    named = tuple(
        FieldError("dependsOn", f"{dependent} depends on this task.") for dependent in dependents[:DEPENDENTS_NAMED_MAX]
    )
    who = "Another task depends" if len(dependents) == 1 else f"{len(dependents)} tasks depend"
    message = f"{who} on this one. Take it out of the dependsOn there first."
    return CommandRefused(422, "task_has_dependents", message, named)


def _fields(payload: msgspec.Struct) -> dict[str, object]:
    """The fields that the payload sets."""
    values: Callable[[msgspec.Struct], dict[str, object]] = msgspec.structs.asdict
    return {name: value for name, value in values(payload).items() if value is not UNSET and name not in NOT_CHANGED}


HANDLERS: Handlers = {
    CreateProject: RequestHandler(create_project),
    UpdateProject: RequestHandler(update_project),
    CreateTask: RequestHandler(create_task),
    UpdateTask: RequestHandler(update_task),
    DeleteTask: RequestHandler(delete_task),
}
