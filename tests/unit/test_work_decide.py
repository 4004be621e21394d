"""What becomes of commands about projects and tasks: versions, dependencies, keys, events."""

from typing import Any

import msgspec
import pytest

from domain.control.state import ControlState
from domain.idempotency.commands import RESERVED_MS
from schemas.commands.reservations import CompleteAnswer, ReserveAnswer
from schemas.commands.streams import CreateStream
from schemas.commands.work import CreateProject, CreateTask, DeleteTask, UpdateProject, UpdateTask
from schemas.records import Verdict
from schemas.work import STREAM, SURFACE, Task, task_view
from tests.support.commands_log import WORKSPACE, CommandsLog, TableWithChangelog, a_workspace, outcome


@pytest.fixture
def log() -> CommandsLog:
    """With the system stream, and the project that `project_id` names."""
    log = a_workspace()
    log.ask(CreateStream(name=STREAM), surface=SURFACE)
    log.topics_done()
    return log


def ask(log: CommandsLog, payload: Any, **how: Any) -> Verdict:
    verdict = log.ask(payload, surface=SURFACE, **how)
    assert verdict is not None
    return verdict


def made(log: CommandsLog, payload: Any, **how: Any) -> str:
    verdict = ask(log, payload, **how)
    assert outcome(verdict) == 201
    identifier: str = msgspec.json.decode(verdict.body)["id"]
    return identifier


def a_project(log: CommandsLog) -> str:
    return made(log, CreateProject(name="Q3"))


def a_task(log: CommandsLog, project_id: str, *depends_on: str) -> str:
    return made(log, CreateTask(project_id=project_id, title="Review", depends_on=list(depends_on)))


def the_task(log: CommandsLog, task_id: str) -> Task:
    task = ControlState(log.table).task(WORKSPACE, "live", task_id)
    assert task is not None
    return task


def fields(verdict: Verdict) -> list[str]:
    return [error["field"] for error in msgspec.json.decode(verdict.body)["details"]["errors"]]


@pytest.mark.requirement("W-048", "W-030", "S10")
def test_a_change_is_for_the_version_that_was_seen(log: CommandsLog) -> None:
    task_id = a_task(log, a_project(log))
    assert outcome(ask(log, UpdateTask(id=task_id, if_versions=[1], title="Two"))) == 200
    late = ask(log, UpdateTask(id=task_id, if_versions=[1], title="Three"))
    assert outcome(late) == "version_conflict"
    assert (late.status, msgspec.json.decode(late.body)["facts"]) == (409, {"currentVersion": 2})
    assert outcome(ask(log, DeleteTask(id=task_id, if_versions=[1, 3]))) == "version_conflict"
    assert outcome(ask(log, UpdateTask(id=task_id, title="Three"))) == 200
    assert (the_task(log, task_id).version, the_task(log, task_id).title) == (3, "Three")
    assert outcome(ask(log, DeleteTask(id=task_id, if_versions=[3]))) == 204
    assert outcome(ask(log, UpdateTask(id=task_id, title="Four"))) == "task_not_found"


def test_what_changes_nothing_is_no_version_and_no_event(log: CommandsLog) -> None:
    project_id = a_project(log)
    task_id = a_task(log, project_id)
    before = the_task(log, task_id)
    for payload in (UpdateTask(id=task_id, title="Review"), UpdateTask(id=task_id)):
        log.now_ms += 1_000
        assert ask(log, payload).body == msgspec.json.encode(task_view(before))
    assert the_task(log, task_id) == before


@pytest.mark.requirement("W-029", "W-031")
def test_unknown_projects_and_tasks(log: CommandsLog) -> None:
    project_id, other_id = a_project(log), a_project(log)
    elsewhere = a_task(log, other_id)
    nowhere = ask(log, CreateTask(project_id="prj_none", title="x"))
    assert (outcome(nowhere), nowhere.status, fields(nowhere)) == ("unknown_project", 422, ["projectId"])
    depends = ask(log, CreateTask(project_id=project_id, title="x", depends_on=["tsk_none", elsewhere]))
    assert (outcome(depends), fields(depends)) == ("unknown_task", ["dependsOn[0]", "dependsOn[1]"])
    assert outcome(ask(log, UpdateProject(id="prj_none", name="x"))) == "project_not_found"
    assert outcome(ask(log, UpdateTask(id="tsk_none", title="x"))) == "task_not_found"
    assert outcome(ask(log, DeleteTask(id=elsewhere), environment="test")) == "work_stream_missing"


@pytest.mark.requirement("W-031")
def test_a_circle_of_dependencies_is_refused(log: CommandsLog) -> None:
    project_id = a_project(log)
    first = a_task(log, project_id)
    second = a_task(log, project_id, first)
    third = a_task(log, project_id, second)
    side = a_task(log, project_id, first, third)
    for depends_on in ([first], [third], [side], [second, side]):
        refused = ask(log, UpdateTask(id=first, depends_on=depends_on))
        assert (outcome(refused), refused.status, fields(refused)) == ("cyclic_dependency", 422, ["dependsOn"])
    assert outcome(ask(log, UpdateTask(id=third, depends_on=[]))) == 200
    assert outcome(ask(log, UpdateTask(id=second, depends_on=[third]))) == 200


def test_a_long_way_is_told_shortly(log: CommandsLog) -> None:
    project_id = a_project(log)
    way = [a_task(log, project_id)]
    for _ in range(20):
        way.append(a_task(log, project_id, way[-1]))
    refused = ask(log, UpdateTask(id=way[0], depends_on=[way[-1]]))
    (error,) = msgspec.json.decode(refused.body)["details"]["errors"]
    assert error["message"].startswith(f"This closes a cycle: {way[0]} → {way[-1]} → ")
    assert error["message"].endswith(f" → {way[0]}") and "…" in error["message"]


def test_more_tasks_than_are_looked_at(log: CommandsLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.work.dependencies.GRAPH_TASKS_MAX", 10)
    project_id = a_project(log)
    way = [a_task(log, project_id)]
    for _ in range(12):
        way.append(a_task(log, project_id, way[-1]))
    refused = ask(log, UpdateTask(id=a_task(log, project_id), depends_on=[way[-1]]))
    assert (outcome(refused), refused.status) == ("dependency_graph_too_large", 422)


def test_one_that_others_depend_on_stays(log: CommandsLog) -> None:
    project_id = a_project(log)
    first = a_task(log, project_id)
    second = a_task(log, project_id, first)
    refused = ask(log, DeleteTask(id=first))
    assert (outcome(refused), refused.status, fields(refused)) == ("task_has_dependents", 422, ["dependsOn"])
    assert outcome(ask(log, UpdateTask(id=second, depends_on=[]))) == 200
    assert outcome(ask(log, DeleteTask(id=first))) == 204


@pytest.mark.requirement("W-041", "W-042", "X-04", "X-35")
def test_a_key_stands_for_an_operation_whatever_the_body_says(log: CommandsLog) -> None:
    project_id = a_project(log)
    first = ask(log, CreateTask(project_id=project_id, title="One"), key="k")
    again = ask(log, CreateTask(project_id=project_id, title="Another"), key="k")
    assert (again.status, again.body) == (first.status, first.body)
    assert outcome(ask(log, CreateProject(name="x"), key="k")) == "idempotency_key_reused"
    log.now_ms += 24 * 3_600_000
    assert ask(log, CreateTask(project_id=project_id, title="One"), key="k").body != first.body


@pytest.mark.requirement("W-041", "X-35")
def test_a_refusal_leaves_the_key_free(log: CommandsLog) -> None:
    project_id = a_project(log)
    assert outcome(ask(log, CreateTask(project_id="prj_none", title="x"), key="k")) == "unknown_project"
    assert outcome(ask(log, CreateTask(project_id=project_id, title="x"), key="k")) == 201


@pytest.mark.requirement("W-057", "W-018")
def test_each_change_is_an_event_and_stands_in_the_audit_log(log: CommandsLog) -> None:
    project_id = a_project(log)
    task_id = a_task(log, project_id)
    ask(log, UpdateTask(id=task_id, title="Two"))
    ask(log, UpdateProject(id=project_id, name="Q4"))
    ask(log, DeleteTask(id=task_id))
    events = [event for asked in log.log for event in log.decide(asked).changes.events]
    assert [event.type for event in events] == [
        "project.created",
        "task.created",
        "task.updated",
        "project.updated",
        "task.deleted",
    ]
    assert {event.stream for event in events} == {STREAM}
    assert msgspec.json.decode(events[2].data)["task"]["version"] == 2
    resources = [audit.resource for audit in log.audits.values() if audit.action.startswith(("task", "project"))]
    assert resources == [f"{kind}/{found}" for kind, found in (("project", project_id), ("task", task_id))] + [
        f"task/{task_id}",
        f"project/{project_id}",
        f"task/{task_id}",
    ]


def test_a_command_that_is_read_again_does_the_same_again(log: CommandsLog) -> None:
    """Whatever of the table's changes was kept."""
    project_id = a_project(log)
    first = a_task(log, project_id)
    second = a_task(log, project_id, first)
    ask(log, UpdateTask(id=second, depends_on=[]), key="k")
    ask(log, DeleteTask(id=first))
    entries, items, changelog = dict(log.table.entries), dict(log.items), list(log.table.changelog)
    start = len(log.log) - 3
    for kept in range(log.changes_before[start], len(changelog) + 1):
        log.table = TableWithChangelog(changelog)
        log.read_again(start, kept)
        assert (log.table.entries, log.items) == (entries, items)


@pytest.mark.requirement("X-35", "W-041")
def test_a_key_is_reserved_by_one_command_and_completed_by_another(log: CommandsLog) -> None:
    def reserve(key: str = "k") -> tuple[str, str]:
        verdict = ask(log, ReserveAnswer(id="ai.plan"), key=key)
        return verdict.outcome, verdict.body.decode()

    outcome_now, body = reserve()
    holder = msgspec.json.decode(body)["command"]
    assert outcome_now == "reserved" and reserve() == ("reserved", body)
    assert outcome(ask(log, ReserveAnswer(id="ai.summarize"), key="k")) == "idempotency_key_reused"
    assert outcome(ask(log, CompleteAnswer(reservation=holder, body='{"tasks":[]}'))) == 204
    assert reserve() == ("done", '{"tasks":[]}')
    assert outcome(ask(log, CompleteAnswer(reservation=holder, body="too late"))) == 204
    assert reserve() == ("done", '{"tasks":[]}')
    entries = dict(log.table.entries)
    for offset in range(len(log.log)):
        log.read_again(offset)
        assert log.table.entries == entries


def test_no_key_is_reserved_in_an_environment_that_there_is_not(log: CommandsLog) -> None:
    """No caller can ask for it (tests/unit/test_authentication.py)."""
    assert outcome(ask(log, ReserveAnswer(id="ai.plan"), key="k", environment="prod")) == "invalid_request"


@pytest.mark.requirement("X-35")
def test_a_reserved_key_is_free_after_a_failure_and_after_a_while(log: CommandsLog) -> None:
    first = ask(log, ReserveAnswer(id="ai.plan"), key="k")
    failed = CompleteAnswer(reservation=msgspec.json.decode(first.body)["command"], body=None)
    assert outcome(ask(log, failed)) == 204
    second = ask(log, ReserveAnswer(id="ai.plan"), key="k")
    assert second.outcome == "reserved" and second.body != first.body
    log.now_ms += RESERVED_MS
    third = ask(log, ReserveAnswer(id="ai.plan"), key="k")
    assert third.outcome == "reserved" and third.body != second.body
    late = CompleteAnswer(reservation=msgspec.json.decode(second.body)["command"], body="late")
    assert outcome(ask(log, late)) == 204
    assert ask(log, ReserveAnswer(id="ai.plan"), key="k").body == third.body
