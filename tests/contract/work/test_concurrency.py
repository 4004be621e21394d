"""Many clients on one task lose nothing, and a model of tasks agrees with the API whatever is asked."""

import asyncio
import random
import uuid
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.support.work_installation import WorkInstallation, WorkSurface

CLIENTS = 32
STEPS, EXAMPLES = 25, 4


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


class ModelOfTasks:
    """What the API should say: tasks by id, in the order of their making."""

    def __init__(self, project_id: str) -> None:
        self.project_id = project_id
        self.tasks: dict[str, Any] = {}

    def reaches(self, start: str, goal: str) -> bool:
        return start == goal or any(self.reaches(one, goal) for one in self.tasks[start]["dependsOn"])

    def dependents(self, task_id: str) -> list[str]:
        return [one for one, task in self.tasks.items() if task_id in task["dependsOn"]]

    async def step(self, work: WorkSurface, chance: random.Random) -> None:
        if not self.tasks or chance.random() < 0.35:
            await self._create(work, chance)
        elif chance.random() < 0.75:
            await self._change(work, chance)
        else:
            await self._delete(work, chance)

    async def _create(self, work: WorkSurface, chance: random.Random) -> None:
        depends_on = chance.sample(list(self.tasks), min(len(self.tasks), chance.randrange(3)))
        body = {"projectId": self.project_id, "title": f"Task {len(self.tasks)}", "dependsOn": depends_on}
        key = {"Idempotency-Key": str(uuid.uuid4())}
        made = await work.ask("POST", "/v1/tasks", body, headers=key)
        assert made.status == 201, made.body
        assert (await work.ask("POST", "/v1/tasks", body, headers=key)).body == made.body
        self.tasks[made.json["id"]] = made.json

    async def _change(self, work: WorkSurface, chance: random.Random) -> None:
        before = self.tasks[chance.choice(list(self.tasks))]
        fields: dict[str, Any] = {"status": chance.choice(["TODO", "DONE"])}
        if chance.random() < 0.5:
            fields["dependsOn"] = chance.sample(list(self.tasks), min(len(self.tasks), chance.randrange(4)))
        version = before["version"] - (chance.random() < 0.2)
        answer = await work.ask(
            "PATCH", f"/v1/tasks/{before['id']}", fields, headers={"If-Match": f"{max(1, version)}"}
        )
        if max(1, version) != before["version"]:
            assert (answer.status, answer.code) == (409, "version_conflict")
        elif any(self.reaches(one, before["id"]) for one in fields.get("dependsOn", ())):
            assert (answer.status, answer.code) == (422, "cyclic_dependency")
        else:
            after = {**before, **fields}
            changed = after != before
            assert answer.status == 200, answer.body
            assert answer.json["version"] == before["version"] + changed
            self.tasks[before["id"]] = {
                **after,
                "version": answer.json["version"],
                "updatedAt": answer.json["updatedAt"],
            }
            assert answer.json == self.tasks[before["id"]]

    async def _delete(self, work: WorkSurface, chance: random.Random) -> None:
        task_id = chance.choice(list(self.tasks))
        answer = await work.ask("DELETE", f"/v1/tasks/{task_id}")
        if self.dependents(task_id):
            assert (answer.status, answer.code) == (422, "task_has_dependents")
        else:
            assert answer.status == 204
            del self.tasks[task_id]

    async def agrees(self, work: WorkSurface) -> None:
        found: list[Any] = []
        cursor = ""
        while True:
            page = (await work.ask("GET", f"/v1/tasks?projectId={self.project_id}&limit=7{cursor}")).json
            found += page["items"]
            if page["nextCursor"] is None:
                break
            cursor = f"&cursor={page['nextCursor']}"
        assert found == list(self.tasks.values())


@pytest.mark.requirement("W-048", "W-050")
@settings(
    max_examples=EXAMPLES,
    phases=[Phase.generate],  # to shrink a story, it would be told to a real system hundreds of times
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(chance=st.randoms(use_true_random=False))
async def test_a_model_of_tasks_agrees(work: WorkSurface, chance: random.Random) -> None:
    """Hypothesis makes the choices."""
    model = ModelOfTasks(await work.a_project())
    for _ in range(STEPS):
        await model.step(work, chance)
    await model.agrees(work)


@pytest.mark.slow
@pytest.mark.requirement("F20", "W-048")
async def test_a_model_of_tasks_agrees_through_kills_of_workers(
    work: WorkSurface, installation: WorkInstallation
) -> None:
    model, chance = ModelOfTasks(await work.a_project()), random.Random(3)
    for group in ("control", "projection", "control"):
        for _ in range(10):
            await model.step(work, chance)
        installation.processors[group].kill()
        starting = asyncio.create_task(asyncio.to_thread(installation.processors[group].start))
        for _ in range(5):
            await model.step(work, chance)
        await starting
        await model.agrees(work)
