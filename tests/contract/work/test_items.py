"""Projects and tasks over the API: made, shown, listed, changed, deleted; a read follows the writes before it."""

from typing import Any

import pytest

from tests.support.work_installation import WorkSurface

DUE = "2026-05-01T17:00:00Z"


async def a_task(work: WorkSurface, project_id: str, **fields: Any) -> Any:
    return await work.made("/v1/tasks", {"projectId": project_id, "title": "Review Q3 forecast", **fields})


@pytest.mark.requirement("W-049", "W-050")
async def test_a_project_and_a_task(work: WorkSurface) -> None:
    project = await work.ask("POST", "/v1/projects", {"name": "Q3 forecast", "description": "Numbers"})
    assert (project.status, project.headers["ETag"]) == (201, '"1"')
    project_id = project.json["id"]
    task = await a_task(work, project_id, priority="HIGH", dueOn=DUE)
    assert {name: task[name] for name in task if name not in ("id", "createdAt", "updatedAt")} == {
        "projectId": project_id,
        "title": "Review Q3 forecast",
        "description": None,
        "priority": "HIGH",
        "status": "TODO",
        "dueOn": DUE,
        "assigneeId": None,
        "dependsOn": [],
        "version": 1,
    }
    shown = await work.ask("GET", f"/v1/tasks/{task['id']}", key="read_only_pat")
    assert (shown.status, shown.json, shown.headers["ETag"]) == (200, task, '"1"')
    assert (await work.ask("GET", f"/v1/projects/{project_id}")).body == project.body
    listed = await work.ask("GET", "/v1/tasks?limit=50")
    assert listed.json == {"items": [task], "nextCursor": None}
