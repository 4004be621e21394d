"""A stream's life as the control agent decides it: name, limit, routes, topic, retention, end."""

import msgspec
import pytest

from domain.control.values import TopicTask
from schemas.commands.answers import RefusalBody, decode_refusal
from schemas.commands.streams import CreateStream, DeleteStream, UpdateStream
from schemas.commands.workflows import CreateWorkflow, DeleteWorkflow
from schemas.entities import Stream, StreamStatus
from schemas.errors import FieldError
from schemas.topics import DAY_MS
from tests.support.commands_log import START_MS, TOPIC_ID, WORKSPACE, CommandsLog, a_workspace, outcome

ARCHIVE = CreateWorkflow(id="wf_archive", name="Archive", url="https://example.com/hook")


def with_stream(name: str = "orders-prod") -> CommandsLog:
    log = a_workspace()
    log.send(CreateStream(name=name))
    log.topics_done()
    return log


@pytest.mark.requirement("A-016", "A-020")
def test_a_stream_is_active_and_answered_once_its_topic_exists() -> None:
    log = a_workspace()
    reply = log.send(CreateStream(name="orders-prod", description="Orders"))
    (taken,) = log.streams()
    assert (taken.status, taken.topic_id, taken.topic) == (
        StreamStatus.CREATING,
        "",
        f"events.{WORKSPACE}.live.orders-prod",
    )
    assert reply.correlation not in log.verdicts
    log.topics_done()
    (verdict,) = log.verdicts[reply.correlation]
    made = msgspec.json.decode(verdict.body, type=Stream)
    assert log.streams() == [made]
    assert (made.id, made.status, made.topic_id) == (taken.id, StreamStatus.ACTIVE, TOPIC_ID)
    assert (made.description, made.retention_days, made.created_ms) == ("Orders", 14, START_MS)
    assert log.state.unfinished() == []


@pytest.mark.requirement("A-026")
@pytest.mark.parametrize("stage", ["creating", "active", "deleted"])
def test_a_name_is_taken_from_the_first_request_on(stage: str) -> None:
    log = a_workspace()
    log.send(CreateStream(name="orders-prod"))
    if stage != "creating":
        log.topics_done()
    if stage == "deleted":
        assert outcome(log.ask(DeleteStream(stream="orders-prod"))) == 204
    refused = log.ask(CreateStream(name="orders-prod"))
    assert outcome(refused) == "stream_exists"
    assert refused is not None and (b"was deleted" in refused.body) is (stage == "deleted")


@pytest.mark.requirement("A-015")
def test_each_environment_has_its_own_names() -> None:
    log = with_stream()
    assert outcome(log.ask(UpdateStream(stream="orders-prod"), environment="test")) == "stream_not_found"
    assert outcome(log.ask(UpdateStream(stream=log.streams()[0].id), environment="test")) == "stream_not_found"
    assert log.ask(CreateStream(name="orders-prod"), environment="test") is None
    log.topics_done()
    assert sorted(stream.environment for stream in log.streams()) == ["live", "test"]


@pytest.mark.requirement("A-017")
def test_the_101st_stream_of_a_workspace_is_refused() -> None:
    log = a_workspace()
    for number in range(100):
        environment = "live" if number % 2 else "test"
        assert log.ask(CreateStream(name=f"stream-{number}"), environment=environment) is None
        if number % 3:
            log.topics_done()
    assert outcome(log.ask(CreateStream(name="one-more"))) == "stream_limit_reached"
    log.topics_done()
    assert outcome(log.ask(CreateStream(name="one-more"))) == "stream_limit_reached"
    assert log.ask(CreateStream(name="spine"), surface="spine") is None
    log.topics_done()
    assert outcome(log.ask(DeleteStream(stream="stream-1"))) == 204
    assert log.ask(CreateStream(name="one-more")) is None
    assert outcome(log.ask(CreateStream(name="and-another"))) == "stream_limit_reached"


@pytest.mark.parametrize("name", ["spine", "work"])
def test_a_system_streams_name_is_reserved_for_its_own_surface(name: str) -> None:
    log = a_workspace()
    assert outcome(log.ask(CreateStream(name=name))) == "stream_exists"
    assert log.ask(CreateStream(name=name), surface=name) is None


@pytest.mark.requirement("A-021", "A-072")
def test_default_routes_name_workflows_that_exist() -> None:
    log = with_stream()
    log.ask(ARCHIVE)
    routes = ["wf_archive", "wf_gone"]
    errors = [FieldError("default_routes[1]", "There is no workflow wf_gone.")]
    for request in (
        CreateStream(name="audit-prod", default_routes=routes),
        UpdateStream(stream="orders-prod", default_routes=routes),
    ):
        verdict = log.ask(request)
        assert verdict is not None and verdict.status == 400
        fault = msgspec.json.decode(verdict.body, type=RefusalBody)
        assert (fault.code, fault.details) == ("invalid_request", {"errors": errors})
    assert outcome(log.ask(UpdateStream(stream="orders-prod", default_routes=["wf_archive"]))) == 200
    assert log.streams()[0].default_routes == ["wf_archive"]
    assert outcome(log.ask(DeleteWorkflow(id="wf_archive"))) == 204


@pytest.mark.requirement("A-026")
def test_an_update_changes_what_it_names_and_leaves_the_rest() -> None:
    log = with_stream()
    (before,) = log.streams()
    for change in ({"description": "New"}, {"retention_days": 90}, {"description": None}, {}):
        assert outcome(log.ask(UpdateStream(stream=before.id, **change))) == 200  # type: ignore[arg-type]
    assert log.streams() == [msgspec.structs.replace(before, retention_days=90)]


def test_a_topic_is_altered_when_the_retention_changed_and_to_the_newest_one() -> None:
    log = with_stream()
    log.ask(UpdateStream(stream="orders-prod", description="New", retention_days=14))
    assert log.state.unfinished() == []
    log.ask(UpdateStream(stream="orders-prod", retention_days=30))
    (older,) = log.state.unfinished()
    log.ask(UpdateStream(stream="orders-prod", retention_days=7))
    log.report(older)
    (work,) = log.state.unfinished()
    assert (work.task, work.retention_days, work.topic_id) == (TopicTask.ALTER, 7, TOPIC_ID)
    log.report(work)
    assert log.state.unfinished() == []


@pytest.mark.requirement("A-026")
def test_a_deleted_stream_keeps_its_log_and_name_until_its_retention_is_over() -> None:
    log = with_stream()
    assert outcome(log.ask(DeleteStream(stream="orders-prod"))) == 204
    assert [stream.status for stream in log.streams()] == [StreamStatus.DELETED]
    for request in (DeleteStream(stream="orders-prod"), UpdateStream(stream="orders-prod", description="x")):
        assert outcome(log.ask(request)) == "stream_not_found"
    log.now_ms += 14 * DAY_MS - 1
    assert log.topics_done() == 0
    log.now_ms += 1
    assert log.topics_done() == 1
    assert (log.streams(), log.state.unfinished()) == ([], [])
    assert log.ask(CreateStream(name="orders-prod")) is None


def test_what_can_never_be_created_frees_its_name_and_its_key() -> None:
    log = a_workspace()
    reply = log.send(CreateStream(name="orders-prod"), key="k")
    log.topics_done(failed="policy violation")
    (verdict,) = log.verdicts[reply.correlation]
    assert (verdict.status, outcome(verdict)) == (503, "stream_not_created")
    assert (log.streams(), log.state.unfinished()) == ([], [])
    again = log.send(CreateStream(name="orders-prod"), key="k")
    log.topics_done()
    assert outcome(log.verdicts[again.correlation][0]) == 201


def test_a_topic_in_the_way_is_a_conflict_whose_reason_is_told_and_which_can_be_removed() -> None:
    log = a_workspace()
    reply = log.send(CreateStream(name="orders-prod"), key="k")
    log.topics_done(failed="it exists", taken="It exists with 3 partitions. Delete it.")
    (verdict,) = log.verdicts[reply.correlation]
    assert (verdict.status, outcome(verdict)) == (409, "topic_exists")
    assert decode_refusal(verdict.body).message == "It exists with 3 partitions. Delete it."
    assert (log.streams(), log.state.unfinished()) == ([], [])
    again = log.send(CreateStream(name="orders-prod"), key="k")
    log.topics_done()
    assert outcome(log.verdicts[again.correlation][0]) == 201


def test_a_report_that_comes_twice_or_late_changes_nothing() -> None:
    log = a_workspace()
    reply = log.send(CreateStream(name="orders-prod"))
    (work,) = log.state.unfinished()
    log.report(work)
    log.ask(DeleteStream(stream="orders-prod"))
    entries, control = dict(log.table.entries), dict(log.control)
    log.report(work)
    log.report(work, failed="too late")
    assert (log.table.entries, log.control) == (entries, control)
    assert {answer.status for answer in log.verdicts[reply.correlation]} == {201}


def test_a_creation_that_lasted_longer_than_its_answer_is_kept_still_succeeds() -> None:
    log = a_workspace()
    log.state.sweep(log.now_ms)
    log.send(CreateStream(name="orders-prod"), key="k")
    log.now_ms += 3 * DAY_MS
    log.state.sweep(log.now_ms)
    log.topics_done()
    assert [stream.status for stream in log.streams()] == [StreamStatus.ACTIVE]
