"""A task may depend on tasks of its own project, and never on itself, directly or through others."""

from typing import Protocol

from domain.control.values import CommandRefused
from schemas.errors import FieldError
from schemas.work import GRAPH_TASKS_MAX, Task


class Links(Protocol):
    def task(self, workspace: str, environment: str, task_id: str) -> Task | None: ...


def check_dependencies(links: Links, task: Task) -> None:
    """Raises CommandRefused (422) that names each missing task."""
    unknown = tuple(
        FieldError(f"dependsOn[{index}]", f"There is no task {dependency} in the project.")
        for index, dependency in enumerate(task.depends_on)
        if not _is_of_project(links, task, dependency)
    )
    if unknown:
        raise CommandRefused(422, "unknown_task", "The task depends on tasks that its project does not have.", unknown)


def check_no_cycle(links: Links, task: Task) -> None:
    """Raises CommandRefused (422): with the path from the task back to itself, or for too many tasks to check."""
    came_from: dict[str, str] = dict.fromkeys(task.depends_on, task.id)
    waiting = list(came_from)
    while waiting:
        at = waiting.pop()
        if at == task.id:
            raise _cycle(_way(came_from, task.id))
        if len(came_from) > GRAPH_TASKS_MAX:
            message = f"More than {GRAPH_TASKS_MAX} tasks stand behind these dependencies; so many can't be checked."
            raise CommandRefused(422, "dependency_graph_too_large", message, (FieldError("dependsOn", message),))
        found = links.task(task.workspace, task.environment, at)
        for dependency in found.depends_on if found is not None else ():
            if dependency not in came_from:
                came_from[dependency] = at
                waiting.append(dependency)


def _is_of_project(links: Links, task: Task, dependency: str) -> bool:
    if dependency == task.id:
        return True  # there it is; that it closes a cycle is the other question
    found = links.task(task.workspace, task.environment, dependency)
    return found is not None and found.project_id == task.project_id


def _way(came_from: dict[str, str], task_id: str) -> list[str]:
    way = [task_id]
    while (before := came_from[way[-1]]) != task_id:
        way.append(before)
    return [task_id, *reversed(way)]


def _cycle(way: list[str]) -> CommandRefused:
    shown = way if len(way) <= 8 else [*way[:4], "…", *way[-3:]]
    error = FieldError("dependsOn", "This closes a cycle: " + " → ".join(shown))
    return CommandRefused(
        422, "cyclic_dependency", "A task can't depend on itself, directly or through others.", (error,)
    )
