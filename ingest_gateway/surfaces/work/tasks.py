"""`/v1/tasks`: create, list, show, change and delete the tasks of the caller's tenant."""

import orjson
from aiohttp import web

from domain.events.fields import time_ms
from domain.security.principals import TASKS_READ, TASKS_WRITE, Principal
from ingest_gateway.http.queries import read_query, whole_number
from ingest_gateway.read_model.work_pages import TaskFilter
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.requests import caller
from ingest_gateway.surfaces.work.commands import answer, item_decided, json_body
from ingest_gateway.surfaces.work.errors import PROJECT_NOT_FOUND, TASK_NOT_FOUND, invalid
from ingest_gateway.surfaces.work.forms import NO_TIME, read_new_task, read_task_changes
from ingest_gateway.surfaces.work.reads import LIMIT_DEFAULT, LIMIT_MAX, Pages, asked, look_until_sure, wait_for_writes
from ingest_gateway.surfaces.work.versions import IF_MATCH, read_if_match, shown
from schemas.commands.work import DeleteTask
from schemas.errors import FieldError
from schemas.ids import is_id
from schemas.work import PROJECT, TASK, Priority, TaskStatus

PATH = "/v1/tasks"
FILTERS = ("projectId", "status", "priority", "assigneeId", "dueAfter", "dueBefore")


async def create_task(request: web.Request) -> web.Response:
    services, principal = caller(request, TASKS_WRITE)
    payload = read_new_task(await json_body(request))
    return answer(await item_decided(request, services, principal, payload))


async def list_tasks(request: web.Request) -> web.Response:
    services, principal = caller(request, TASKS_READ)
    parameters = read_query(request, (*FILTERS, "limit", "cursor"))
    limit = whole_number(parameters, "limit", minimum=1, maximum=LIMIT_MAX, default=LIMIT_DEFAULT)
    chosen = read_filter(parameters)
    scope = principal.workspace, principal.environment
    pages = Pages(services, ("tasks", *scope, chosen))
    after = pages.offset(parameters.get("cursor"))
    await wait_for_writes(request, services, principal)
    await _require_project(services, principal, chosen.project_id)
    page = await asked(services.reads.tasks_page(*scope, chosen, after, limit))
    return pages.answer([orjson.Fragment(body) for body in page.bodies], page.following)


async def get_task(request: web.Request) -> web.Response:
    services, principal = caller(request, TASKS_READ)
    read_query(request, ())
    task_id = _task_id(request)
    await wait_for_writes(request, services, principal)
    scope = principal.workspace, principal.environment
    body = await look_until_sure(services, principal, lambda: services.reads.task(*scope, task_id))
    if body is None:
        raise TASK_NOT_FOUND.refused()
    return shown(body)


async def update_task(request: web.Request) -> web.Response:
    services, principal = caller(request, TASKS_WRITE)
    versions = read_if_match(request.headers.get(IF_MATCH))
    payload = read_task_changes(_task_id(request), await json_body(request), versions)
    return answer(await item_decided(request, services, principal, payload))


async def delete_task(request: web.Request) -> web.Response:
    services, principal = caller(request, TASKS_WRITE)
    versions = read_if_match(request.headers.get(IF_MATCH))
    payload = DeleteTask(id=_task_id(request), if_versions=versions)
    return answer(await item_decided(request, services, principal, payload))


def read_filter(parameters: dict[str, str]) -> TaskFilter:
    """Raises Refused with every error."""
    errors = []
    for name, kinds in (("status", TaskStatus), ("priority", Priority)):
        if parameters.get(name, kinds[next(iter(kinds.__members__))]) not in frozenset(kinds):
            errors.append(FieldError(name, f"Must be one of {', '.join(kinds)}."))
    times = {name: parameters.get(name) for name in ("dueAfter", "dueBefore")}
    due_ms = {name: None if text is None else time_ms(text.replace(" ", "+")) for name, text in times.items()}
    errors += [FieldError(name, NO_TIME) for name, text in times.items() if text is not None and due_ms[name] is None]
    if errors:
        raise invalid(errors)
    return TaskFilter(
        project_id=parameters.get("projectId"),
        status=parameters.get("status"),
        priority=parameters.get("priority"),
        assignee_id=parameters.get("assigneeId"),
        due_after_ms=due_ms["dueAfter"],
        due_before_ms=due_ms["dueBefore"],
    )


async def _require_project(services: Services, principal: Principal, project_id: str | None) -> None:
    """Of a list's filter. Raises Refused: project_not_found."""
    if project_id is None:
        return
    scope = principal.workspace, principal.environment
    found = None
    if is_id(project_id, PROJECT):
        found = await look_until_sure(services, principal, lambda: services.reads.project(*scope, project_id))
    if found is None:
        raise PROJECT_NOT_FOUND.refused()


def _task_id(request: web.Request) -> str:
    task_id = request.match_info["task"]
    if not is_id(task_id, TASK):
        raise TASK_NOT_FOUND.refused()
    return task_id


ROUTES = (
    web.post(PATH, create_task, name="create_task"),
    web.get(PATH, list_tasks, name="list_tasks"),
    web.get(PATH + "/{task}", get_task, name="get_task"),
    web.patch(PATH + "/{task}", update_task, name="update_task"),
    web.delete(PATH + "/{task}", delete_task, name="delete_task"),
)
