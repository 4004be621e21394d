"""A state machine keeps a model of tasks beside the API, whatever is asked of it and whichever worker is killed."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from schemas.work import Priority, TaskStatus
from tests.support.processor import Processor
from tests.support.work_installation import Answer, WorkInstallation, WorkSurface

WORKERS = st.sampled_from(["control", "control", "projection"])
ONE, SOME = st.integers(0, 99), st.lists(st.integers(0, 99), max_size=3)
"""Which of the tasks that were ever made, deleted ones too, counted round."""
VERSIONS = st.sampled_from(["right", "right", "any", "stale", "to come", "weak"])
FITTING = ("right", "any", "weak")
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "title": st.text("aé\U0001f600 ", min_size=1, max_size=8).filter(str.strip),
        "description": st.none() | st.text("aé\U0001f600\n ", max_size=20),
        "status": st.sampled_from([str(status) for status in TaskStatus]),
        "priority": st.sampled_from([str(priority) for priority in Priority]),
        "assigneeId": st.none() | st.just("usr_2"),
    },
)


class Restarts:
    """Kills workers and starts them again, at most `left` times; what is asked goes on meanwhile."""

    def __init__(self, installation: WorkInstallation, left: int) -> None:
        self._processors = installation.processors
        self._loop = asyncio.get_running_loop()
        self._starting: Processor | None = None
        self.left = left

    def kill(self, group: str) -> None:
        """From another thread than the loop's, in which the new process is started."""
        self.wait()
        self.left -= 1
        self._starting = self._processors[group]
        self._starting.kill()
        asyncio.run_coroutine_threadsafe(self._spawn(self._starting), self._loop).result()

    def wait(self) -> None:
        """Until the last one serves again. Raises RuntimeError where it does not."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.wait_until_ready()

    @staticmethod
    async def _spawn(processor: Processor) -> None:
        processor.spawn()


class TasksMachine(RuleBasedStateMachine):
    """`ask` is the surface's, from any thread. The model: what each task's body should be, in the order of making."""

    def __init__(self, ask: Callable[..., Answer], restarts: Restarts) -> None:
        super().__init__()
        self._ask = ask
        self._restarts = restarts
        self._tasks: dict[str, Any] = {}
        self._ever: list[str] = []

    @initialize()
    def a_project_with_a_task(self) -> None:
        self._project_id = self._asked(201, "POST", "/v1/projects", {"name": "Model"}).json["id"]
        self.create({}, [], True)

    @rule(fields=FIELDS, others=SOME, key=st.booleans())
    def create(self, fields: dict[str, Any], others: list[int], key: bool) -> None:
        depends_on = self._some(others)
        body = {"projectId": self._project_id, "title": "Task", **fields, "dependsOn": depends_on}
        headers = {"Idempotency-Key": str(uuid.uuid4())} if key else {}
        answer = self._ask("POST", "/v1/tasks", body, headers=headers)
        if not self._tasks.keys() >= set(depends_on):
            assert (answer.status, answer.code) == (422, "unknown_task")
            return
        assert answer.status == 201 and answer.json["version"] == 1, answer.body
        assert {**answer.json, **body} == answer.json
        if key:
            assert self._ask("POST", "/v1/tasks", body | {"title": "Another"}, headers=headers).body == answer.body
        self._tasks[answer.json["id"]] = answer.json
        self._ever.append(answer.json["id"])

    @rule(one=ONE, fields=FIELDS, version=VERSIONS)
    def change(self, one: int, fields: dict[str, Any], version: str) -> None:
        self._patch(self._one(one), fields, version)

    @rule(one=ONE, others=SOME, version=VERSIONS)
    def depend(self, one: int, others: list[int], version: str) -> None:
        self._patch(self._one(one), {"dependsOn": self._some(others)}, version)

    @rule(one=ONE, other=ONE)
    def close_a_cycle(self, one: int, other: int) -> None:
        """Of what a task depends on, directly or not, one is asked to depend on the task."""
        task_id = self._one(one)
        behind = [known for known in self._tasks if task_id in self._tasks and self._leads(task_id, known)]
        if behind:
            self._patch(behind[other % len(behind)], {"dependsOn": [task_id]}, "right")

    @rule(one=ONE, version=VERSIONS)
    def delete(self, one: int, version: str) -> None:
        task_id = self._one(one)
        known = self._tasks.get(task_id)
        answer = self._ask("DELETE", f"/v1/tasks/{task_id}", headers=self._if_match(known, version))
        if known is None:
            assert (answer.status, answer.code) == (404, "task_not_found")
        elif version not in FITTING:
            self._is_conflict(answer, known)
        elif any(task_id in task["dependsOn"] for task in self._tasks.values()):
            assert (answer.status, answer.code) == (422, "task_has_dependents")
        else:
            assert answer.status == 204, answer.body
            del self._tasks[task_id]

    @rule(one=ONE)
    def get(self, one: int) -> None:
        task_id = self._one(one)
        answer = self._ask("GET", f"/v1/tasks/{task_id}")
        assert answer.status == (200 if task_id in self._tasks else 404)
        if answer.status == 200:
            assert answer.json == self._tasks[task_id]
            assert answer.headers["ETag"] == f'"{answer.json["version"]}"'

    @rule(status=st.none() | st.sampled_from([str(status) for status in TaskStatus]), limit=st.integers(1, 5))
    def list_tasks(self, status: str | None, limit: int) -> None:
        query = f"projectId={self._project_id}&limit={limit}" + (f"&status={status}" if status else "")
        found: list[Any] = []
        page = self._asked(200, "GET", f"/v1/tasks?{query}").json
        found += page["items"]
        while page["nextCursor"] is not None:
            page = self._asked(200, "GET", f"/v1/tasks?{query}&cursor={page['nextCursor']}").json
            found += page["items"]
        assert found == [task for task in self._tasks.values() if status in (None, task["status"])]

    @precondition(lambda self: self._restarts.left > 0 and len(self._tasks) > 2)
    @rule(worker=WORKERS)
    def kill_a_worker(self, worker: str) -> None:
        self._restarts.kill(worker)

    def teardown(self) -> None:
        """Of a story in which nobody was killed, the end is told to a new control process."""
        if not self._ever:
            return
        if self._restarts.left > 0:
            self._restarts.kill("control")
        self.create({}, [], True)
        self.list_tasks(None, 5)

    def _one(self, number: int) -> str:
        return self._ever[number % len(self._ever)]

    def _some(self, numbers: Sequence[int]) -> Sequence[str]:
        """Each once."""
        return [*dict.fromkeys(self._one(number) for number in numbers)]

    def _patch(self, task_id: str, fields: dict[str, Any], version: str) -> None:
        known = self._tasks.get(task_id)
        answer = self._ask("PATCH", f"/v1/tasks/{task_id}", fields, headers=self._if_match(known, version))
        depends_on = fields.get("dependsOn", [])
        if known is None:
            assert (answer.status, answer.code) == (404, "task_not_found")
        elif version not in FITTING:
            self._is_conflict(answer, known)
        elif not self._tasks.keys() >= set(depends_on):
            assert (answer.status, answer.code) == (422, "unknown_task")
        elif any(one == task_id or self._leads(one, task_id) for one in depends_on):
            assert (answer.status, answer.code) == (422, "cyclic_dependency")
        else:
            self._is_changed(answer, known, {**known, **fields})

    def _is_changed(self, answer: Answer, before: dict[str, Any], after: dict[str, Any]) -> None:
        """What changes nothing is no version."""
        assert answer.status == 200, answer.body
        told = {"version": before["version"] + (after != before), "updatedAt": answer.json["updatedAt"]}
        assert answer.json == {**after, **told}
        assert after != before or answer.json == before
        self._tasks[before["id"]] = answer.json

    @staticmethod
    def _is_conflict(answer: Answer, known: dict[str, Any]) -> None:
        assert (answer.status, answer.code) == (409, "version_conflict")
        assert answer.json["currentVersion"] == known["version"]

    @staticmethod
    def _if_match(known: dict[str, Any] | None, version: str) -> dict[str, str]:
        number = 7 if known is None else known["version"]
        written = {
            "right": f'"{number}"',
            "any": "*",
            "stale": f"{number - 1}",
            "to come": f'"{number + 1}"',
            "weak": f'W/"{number}"',
        }
        return {"If-Match": written[version]}

    def _leads(self, start: str, goal: str) -> bool:
        """Whether the one depends on the other, directly or not."""
        waiting, met = list(self._tasks[start]["dependsOn"]), set()
        while waiting:
            at = waiting.pop()
            if at == goal:
                return True
            if at not in met:
                met.add(at)
                waiting += self._tasks[at]["dependsOn"]
        return False

    def _asked(self, status: int, *question: Any) -> Answer:
        answer = self._ask(*question)
        assert answer.status == status, answer.body
        return answer


@pytest.mark.requirement("W-048", "W-050", "F20")
@pytest.mark.parametrize(
    ("stories", "steps", "kills"),
    [(3, 25, 1), pytest.param(25, 60, 12, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
async def test_a_model_of_tasks_agrees_through_kills_of_workers(
    work: WorkSurface, installation: WorkInstallation, stories: int, steps: int, kills: int
) -> None:
    """To shrink a story, it would be told to a real system hundreds of times."""
    loop = asyncio.get_running_loop()

    def ask(*question: Any, **more: Any) -> Answer:
        return asyncio.run_coroutine_threadsafe(work.ask(*question, **more), loop).result()

    restarts = Restarts(installation, kills)
    chosen = settings(
        max_examples=stories,
        stateful_step_count=steps,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    try:
        await asyncio.to_thread(run_state_machine_as_test, lambda: TasksMachine(ask, restarts), settings=chosen)
    finally:
        await asyncio.to_thread(restarts.wait)
    assert restarts.left < kills
