"""Many clients on one task lose nothing, nor does a process that dies with its answer."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.receiver import Receiver
from tests.support.work_installation import WorkInstallation, WorkSurface

CLIENTS = 32


@pytest.mark.requirement("W-030", "W-048")
@pytest.mark.parametrize("changes", [1, pytest.param(5, marks=pytest.mark.slow)])
async def test_many_clients_change_one_task_and_each_version_is_written_once(work: WorkSurface, changes: int) -> None:
    """Each reads, adds its mark and writes with If-Match; refused, it reads again. The end has every mark."""
    task = await work.made("/v1/tasks", {"projectId": await work.a_project(), "title": "Shared"})
    path = f"/v1/tasks/{task['id']}"
    written: list[int] = []

    async def client(number: int) -> None:
        known = task
        for change in range(changes):
            while True:
                body = {"description": f"{known['description'] or ''}{number}.{change};"}
                answer = await work.ask("PATCH", path, body, headers={"If-Match": f"{known['version']}"})
                if answer.status == 200:
                    known = answer.json
                    written.append(known["version"])
                    break
                assert (answer.status, answer.code) == (409, "version_conflict")
                known = (await work.ask("GET", path)).json

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    assert sorted(written) == list(range(2, CLIENTS * changes + 2))
    marks = (await work.ask("GET", path)).json["description"].split(";")[:-1]
    assert sorted(marks) == sorted(f"{number}.{change}" for number in range(CLIENTS) for change in range(changes))


@pytest.mark.requirement("F20", "W-018", "W-057")
@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
async def test_what_was_answered_is_told_though_the_process_dies_at_that_moment(
    work: WorkSurface, installation: WorkInstallation, rounds: int
) -> None:
    """The answer waits for the decision alone; the task, its event and its audit record come, if need be from its
    successor.
    """
    control, project_id = installation.processors["control"], await work.a_project()
    with Receiver() as receiver:
        await work.made("/v1/webhooks", {"url": receiver.url + "/hook", "events": ["task.created"]})
        made = []
        for number in range(rounds):
            made.append(await work.made("/v1/tasks", {"projectId": project_id, "title": f"Task {number}"}))
            control.kill()
            control.spawn()
            await asyncio.to_thread(control.wait_until_ready)
        assert (await work.ask("GET", "/v1/tasks")).json["items"] == made
        told: dict[str, Any] = {}
        async with asyncio.timeout(60):
            while len(told) < rounds:
                for request in receiver.requests:
                    body = json.loads(request.body)
                    told[body["data"]["task"]["id"]] = body["data"]["task"]
                await asyncio.sleep(0.05)
        assert told == {task["id"]: task for task in made}
        audited: list[str] = []
        async with asyncio.timeout(60):
            while len(audited) < rounds:
                listed = (await work.ask("GET", "/v1/activity?limit=100&action=task.create")).json["items"]
                audited = [one["resource"] for one in listed]
                await asyncio.sleep(0.05)
        assert audited == [f"task/{task['id']}" for task in made]
