"""Projects and tasks over the API: made, shown, listed, changed, deleted; a read follows the writes before it."""

import asyncio
from typing import Any

import pytest

from tests.support.work_installation import WorkInstallation, WorkSurface

DUE = "2026-05-01T17:00:00Z"


async def a_task(work: WorkSurface, project_id: str, **fields: Any) -> Any:
    return await work.made("/v1/tasks", {"projectId": project_id, "title": "Review Q3 forecast", **fields})


async def titles(work: WorkSurface, query: str) -> list[str]:
    listed = await work.ask("GET", f"/v1/tasks{query}")
    assert listed.status == 200, listed.body
    return [task["title"] for task in listed.json["items"]]


@pytest.mark.requirement("W-021", "W-044", "W-047", "W-049", "W-050")
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
    assert (await work.ask("GET", "/v1/projects")).json == {"items": [project.json], "nextCursor": None}
    listed = await work.ask("GET", "/v1/tasks?limit=50")
    assert listed.json == {"items": [task], "nextCursor": None}


@pytest.mark.requirement("W-048")
async def test_changes_show_at_once(work: WorkSurface) -> None:
    project_id = await work.a_project()
    task = await a_task(work, project_id, description="Numbers", dueOn=DUE, assigneeId="usr_1")
    path = f"/v1/tasks/{task['id']}"
    changed = await work.ask("PATCH", path, {"status": "DONE", "description": None, "dueOn": None, "assigneeId": None})
    assert (changed.status, changed.headers["ETag"]) == (200, '"2"')
    expected = {**task, "status": "DONE", "description": None, "dueOn": None, "assigneeId": None, "version": 2}
    assert changed.json == {**expected, "updatedAt": changed.json["updatedAt"]}
    assert (await work.ask("GET", path)).json == changed.json
    renamed = await work.ask("PATCH", f"/v1/projects/{project_id}", {"name": "Q4"}, headers={"If-Match": '"1"'})
    assert (renamed.status, renamed.json["name"], renamed.json["version"]) == (200, "Q4", 2)
    assert (await work.ask("GET", f"/v1/projects/{project_id}")).json == renamed.json
    assert (await work.ask("DELETE", path)).status == 204
    assert (await work.ask("GET", path)).code == "task_not_found"
    assert (await work.ask("GET", "/v1/tasks")).json["items"] == []


@pytest.mark.requirement("W-044", "W-045", "W-046", "W-047")
async def test_lists_go_page_by_page_and_are_whole(work: WorkSurface) -> None:
    project_id = await work.a_project()
    await asyncio.gather(*(a_task(work, project_id, title=f"Task {number}") for number in range(7)))
    everything = (await work.ask("GET", "/v1/tasks")).json["items"]
    found, cursor = [], ""
    for made_meanwhile in ("Late 1", "Late 2", None, None, None):
        page = (await work.ask("GET", f"/v1/tasks?limit=3{cursor}")).json
        found += page["items"]
        if made_meanwhile is not None:
            await a_task(work, project_id, title=made_meanwhile)
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert found[:7] == everything
    assert [task["title"] for task in found[7:]] == ["Late 1", "Late 2"]


async def test_filters(work: WorkSurface) -> None:
    first, second = await work.a_project("One"), await work.a_project("Two")
    await a_task(work, first, title="a", priority="URGENT", assigneeId="usr_1", dueOn="2026-05-01T17:00:00+02:00")
    await a_task(work, first, title="b", status="DONE", dueOn="2026-06-01T00:00:00Z")
    await a_task(work, second, title="c", assigneeId="usr_1")
    assert await titles(work, f"?projectId={first}") == ["a", "b"]
    assert await titles(work, f"?projectId={second}&assigneeId=usr_1") == ["c"]
    assert await titles(work, "?status=TODO") == ["a", "c"]
    assert await titles(work, "?priority=URGENT") == ["a"]
    assert await titles(work, "?dueAfter=2026-05-01T15:00:00Z&dueBefore=2026-06-01T00:00:00Z") == ["a"]
    assert await titles(work, "?dueAfter=2026-05-01T15:00:01Z") == ["b"]
    for unknown in ("prj_none", "prj_01JV2X00000000000000000000", ""):
        answer = await work.ask("GET", f"/v1/tasks?projectId={unknown}")
        assert (answer.status, answer.code) == (404, "project_not_found")


@pytest.mark.requirement("W-029", "W-013")
async def test_nobody_sees_another_tenants_items(work: WorkSurface, installation: WorkInstallation) -> None:
    project_id = await work.a_project()
    task = await a_task(work, project_id)
    cursor = None
    for _ in range(2):
        await a_task(work, project_id)
    cursor = (await work.ask("GET", "/v1/tasks?limit=1")).json["nextCursor"]
    async with installation.surface() as other:
        assert (await other.ask("GET", f"/v1/tasks/{task['id']}")).code == "task_not_found"
        assert (await other.ask("GET", f"/v1/projects/{project_id}")).code == "project_not_found"
        assert (await other.ask("GET", "/v1/tasks")).json["items"] == []
        assert (await other.ask("GET", f"/v1/tasks?cursor={cursor}")).fields == ["cursor"]
        assert (await other.ask("PATCH", f"/v1/tasks/{task['id']}", {"title": "Mine"})).code == "task_not_found"
        refused = await other.ask("POST", "/v1/tasks", {"projectId": project_id, "title": "Mine"})
        assert (refused.status, refused.code) == (422, "unknown_project")


@pytest.mark.requirement("W-041")
async def test_another_gateway_follows_a_position(work: WorkSurface, installation: WorkInstallation) -> None:
    project = await work.ask("POST", "/v1/projects", {"name": "Q3"})
    async with installation.surface() as other:
        other.keys = work.keys
        after = {"Atlas-After": project.headers["Atlas-Position"]}
        shown = await other.ask("GET", f"/v1/projects/{project.json['id']}", headers=after)
        assert shown.json == project.json
        assert (await other.ask("GET", "/v1/projects", headers={"Atlas-After": "nowhere"})).fields == ["Atlas-After"]


@pytest.mark.requirement("W-018")
async def test_activity(work: WorkSurface) -> None:
    project_id = await work.a_project()
    await work.ask("POST", "/v1/tasks", {"projectId": project_id[:-4] + "0000", "title": "x"})
    listed = (await work.ask("GET", "/v1/activity?action=project.create")).json
    (entry,) = listed["items"]
    assert entry["resource"] == f"project/{project_id}" and entry["route"] == "POST /v1/projects"
    assert entry["actor"].startswith("key_") and entry["outcome"] == "done"
    refused = (await work.ask("GET", "/v1/activity?action=task.create")).json["items"]
    assert [entry["outcome"] for entry in refused] == ["unknown_project"]
    found, cursor = [], ""
    while True:
        page = (await work.ask("GET", f"/v1/activity?limit=1{cursor}")).json
        found += page["items"]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert found == (await work.ask("GET", "/v1/activity")).json["items"] and len(found) >= 4
