"""Bodies that create or change projects and tasks: from a caller's JSON to a command's payload, all errors at once.

Only the form is checked here; the control agent decides what depends on other items. Rows of docs/requirements.md:
W-050, J15, J16.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType

from domain.events.fields import REQUIRED, time_ms
from ingest_gateway.surfaces.shared.forms import TWICE, Form, expected, text_error
from schemas.commands.work import CreateProject, CreateTask, UpdateProject, UpdateTask
from schemas.ids import is_id
from schemas.work import (
    ASSIGNEE_CHARACTERS_MAX,
    DEPENDS_ON_MAX,
    DESCRIPTION_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    PROJECT,
    TASK,
    TITLE_CHARACTERS_MAX,
    Priority,
    TaskStatus,
)

NO_PROJECT_ID = "A project's id is prj_ and 26 characters."
NO_TASK_ID = "A task's id is tsk_ and 26 characters."
NO_TIME = "Expected an existing date and time with its zone as in RFC 3339, such as 2026-05-01T17:00:00Z."
FIXED_PROJECT = "A task can't move to another project."
TASK_FIELDS = frozenset(
    {"projectId", "title", "description", "priority", "status", "dueOn", "assigneeId", "dependsOn"},
)
PROJECT_FIELDS = frozenset({"name", "description"})
SET_BY_ATLAS = "Atlas sets this field. Send only what is to change."
NOT_SENT = dict.fromkeys(("id", "createdAt", "updatedAt"), SET_BY_ATLAS) | {
    "version": "Atlas counts versions. Send the one that you have read as If-Match."
}
"""Hints for a client that sends back a whole item that it has read."""
_Choice = TypeVar("_Choice", bound=StrEnum)


def read_new_project(body: bytes) -> CreateProject:
    """The body of POST /v1/projects. Raises Refused with every error."""
    form = Form(body, PROJECT_FIELDS, NOT_SENT)
    name = form.string("name", text_error(NAME_CHARACTERS_MAX, least=1))
    description = _description(form)
    form.raise_errors()
    return CreateProject(name=name or "", description=description)


def read_project_changes(project_id: str, body: bytes, if_versions: list[int] | None) -> UpdateProject:
    """The body of PATCH: what is absent stays, null takes the description away."""
    form = Form(body, PROJECT_FIELDS, NOT_SENT)
    name = _given(form, "name", lambda: form.string("name", text_error(NAME_CHARACTERS_MAX, least=1)))
    description = _given(form, "description", lambda: _description(form))
    form.raise_errors()
    return UpdateProject(
        id=project_id,
        if_versions=if_versions,
        name=UNSET if name is None else name,
        description=description,
    )


def read_new_task(body: bytes) -> CreateTask:
    """The body of POST /v1/tasks. Raises Refused with every error."""
    form = Form(body, TASK_FIELDS, NOT_SENT)
    project_id = form.string("projectId", lambda text: None if is_id(text, PROJECT) else NO_PROJECT_ID)
    title = form.string("title", text_error(TITLE_CHARACTERS_MAX, least=1))
    description = _description(form)
    priority = _choice(form, "priority", Priority)
    status = _choice(form, "status", TaskStatus)
    due_on = _due_on(form)
    assignee_id = _assignee(form)
    depends_on = _depends_on(form)
    form.raise_errors()
    return CreateTask(
        project_id=project_id or "",
        title=title or "",
        description=description,
        priority=priority or Priority.MEDIUM,
        status=status or TaskStatus.TODO,
        due_on=due_on,
        due_ms=None if due_on is None else time_ms(due_on),
        assignee_id=assignee_id,
        depends_on=depends_on,
    )


def read_task_changes(task_id: str, body: bytes, if_versions: list[int] | None) -> UpdateTask:
    """The body of PATCH: what is absent stays; null removes an optional field, and is an error elsewhere."""
    form = Form(body, TASK_FIELDS, NOT_SENT)
    if "projectId" in form.values:
        form.refuse("projectId", FIXED_PROJECT)
    title = _given(form, "title", lambda: form.string("title", text_error(TITLE_CHARACTERS_MAX, least=1)))
    description = _given(form, "description", lambda: _description(form))
    priority = _given(form, "priority", lambda: _choice(form, "priority", Priority, required=True))
    status = _given(form, "status", lambda: _choice(form, "status", TaskStatus, required=True))
    due_on = _given(form, "dueOn", lambda: _due_on(form))
    assignee_id = _given(form, "assigneeId", lambda: _assignee(form))
    depends_on = _given(form, "dependsOn", lambda: _depends_on(form))
    form.raise_errors()
    return UpdateTask(
        id=task_id,
        if_versions=if_versions,
        title=UNSET if title is None else title,
        description=description,
        priority=UNSET if priority is None else priority,
        status=UNSET if status is None else status,
        due_on=due_on,
        due_ms=time_ms(due_on) if isinstance(due_on, str) else due_on,
        assignee_id=assignee_id,
        depends_on=depends_on,
    )


_Value = TypeVar("_Value")


def _given(form: Form, field: str, read: Callable[[], _Value]) -> _Value | UnsetType:
    return read() if field in form.values else UNSET


def _description(form: Form) -> str | None:
    return form.string("description", text_error(DESCRIPTION_CHARACTERS_MAX), required=False)


def _assignee(form: Form) -> str | None:
    return form.string("assigneeId", text_error(ASSIGNEE_CHARACTERS_MAX, least=1), required=False)


def _due_on(form: Form) -> str | None:
    return form.string("dueOn", lambda text: None if time_ms(text) is not None else NO_TIME, required=False)


def _choice(form: Form, field: str, kinds: type[_Choice], *, required: bool = False) -> _Choice | None:
    names = frozenset(kinds)
    message = f"Must be one of {', '.join(kinds)}."
    text = form.string(field, lambda text: None if text in names else message, required=required)
    return None if text is None else kinds(text)


def _depends_on(form: Form) -> list[str]:
    """Different ids of tasks; empty for null and for what is absent."""
    value: Any = form.values.get("dependsOn")
    if value is None:
        return []
    if type(value) is not list:
        form.refuse("dependsOn", expected("an array of tasks' ids", value))
        return []
    if len(value) > DEPENDS_ON_MAX:
        form.refuse("dependsOn", f"The array has {len(value)} ids; {DEPENDS_ON_MAX} are allowed.")
        return []
    seen: set[object] = set()
    for index, entry in enumerate(value):
        error = _task_id_error(entry)
        if error is None and entry in seen:
            error = TWICE
        if error is not None:
            form.refuse(f"dependsOn[{index}]", error)
        else:
            seen.add(entry)
    return value


def _task_id_error(entry: object) -> str | None:
    if not isinstance(entry, str):
        return REQUIRED if entry is None else expected("a task's id", entry)
    return None if is_id(entry, TASK) else NO_TASK_ID
