"""Many clients on one task lose nothing."""

import asyncio

import pytest

from tests.support.work_installation import WorkSurface

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
