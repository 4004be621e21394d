"""The life of a topic that a workflow writes to: whose it may be, made, taken once, kept after its workflow's end."""

import msgspec
import pytest

from domain.control.values import TopicTask
from schemas.commands.answers import RefusalBody
from schemas.commands.webhooks import RotateSecret
from schemas.commands.workflows import CreateWorkflow, DeleteWorkflow
from schemas.entities import Workflow
from schemas.topics import DAY_MS
from tests.support.commands_log import START_MS, TOPIC_ID, WORKSPACE, CommandsLog, a_workspace, outcome

TOPIC = f"routes.{WORKSPACE}.live.orders"
KEPT_MS = 14 * DAY_MS


def asked(workflow_id: str = "wf_lake", topic: str = TOPIC) -> CreateWorkflow:
    return CreateWorkflow(id=workflow_id, name="Lake", topic=topic)


def with_workflow() -> CommandsLog:
    log = a_workspace()
    log.send(asked())
    assert log.topics_done() == 1
    return log


def test_a_workflow_is_answered_once_its_topic_exists() -> None:
    log = a_workspace()
    reply = log.send(asked())
    assert reply.correlation not in log.verdicts
    (work,) = log.state.unfinished()
    assert (work.topic.name, work.task) == (TOPIC, TopicTask.CREATE)
    log.topics_done()
    (verdict,) = log.verdicts[reply.correlation]
    made = msgspec.json.decode(verdict.body, type=Workflow)
    assert log.workflows() == [made]
    assert (verdict.status, made.topic, made.topic_id, made.url, made.created_ms) == (
        201,
        TOPIC,
        TOPIC_ID,
        "",
        START_MS,
    )
    assert log.state.unfinished() == []


FOREIGN = [
    "routes.ws_other.live.orders",
    f"routes.{WORKSPACE}.test.orders",
    f"routes.{WORKSPACE}.live.",
    f"routes.{WORKSPACE}.live.a.b",
    f"routes.{WORKSPACE}.live.Orders",
    f"events.{WORKSPACE}.live.orders",
    *("control", "deliveries", "commands", "delivery-waiting-changelog", "__consumer_offsets", "orders", "..", "\n"),
]


@pytest.mark.requirement("A6", "A7")
@pytest.mark.parametrize("topic", FOREIGN)
def test_no_other_topic_can_be_named(topic: str) -> None:
    """Whatever a gateway lets through."""
    log = a_workspace()
    verdict = log.ask(asked(topic=topic))
    assert verdict is not None and verdict.status == 400
    fault = msgspec.json.decode(verdict.body, type=RefusalBody)
    assert [error.field for error in fault.details["errors"]] == ["topic"]
    assert f"routes.{WORKSPACE}.live." in fault.details["errors"][0].message
    assert (log.workflows(), log.state.unfinished()) == ([], [])


def test_a_topic_is_one_workflows() -> None:
    log = a_workspace()
    log.send(asked())
    assert outcome(log.ask(asked("wf_other"))) == "topic_taken"
    log.topics_done()
    assert outcome(log.ask(asked("wf_other"))) == "topic_taken"
    assert outcome(log.ask(asked("wf_lake", TOPIC + "-2"))) == "workflow_exists"


def test_after_its_workflow_a_topic_is_kept_for_its_time() -> None:
    log = with_workflow()
    assert outcome(log.ask(DeleteWorkflow(id="wf_lake"))) == 204
    (work,) = log.state.unfinished()
    assert (work.task, work.topic_id, work.due_ms) == (TopicTask.EXPIRE, TOPIC_ID, log.now_ms + KEPT_MS)
    assert log.state.route_topics_counted(WORKSPACE) == 1
    log.now_ms += KEPT_MS - 1
    assert log.topics_done() == 0
    log.now_ms += 1
    assert log.topics_done() == 1
    assert (log.state.unfinished(), log.state.route_topics_counted(WORKSPACE)) == ([], 0)


def test_a_topic_that_is_kept_may_be_taken_over_and_then_stays() -> None:
    log = with_workflow()
    log.ask(DeleteWorkflow(id="wf_lake"))
    (expiry,) = log.state.unfinished()
    log.send(asked("wf_new"))
    assert [work.task for work in log.state.unfinished()] == [TopicTask.CREATE]
    log.topics_done()
    assert [(one.id, one.topic) for one in log.workflows()] == [("wf_new", TOPIC)]
    log.now_ms += KEPT_MS
    assert log.topics_done() == 0
    log.report(expiry)  # of a worker that was asked before
    assert log.state.route_topic(WORKSPACE, TOPIC) == "wf_new"


def test_one_deleted_before_its_topic_was_made_leaves_a_topic_that_ends() -> None:
    log = a_workspace()
    log.send(asked())
    (creation,) = log.state.unfinished()
    assert outcome(log.ask(DeleteWorkflow(id="wf_lake"))) == 204
    log.report(creation)
    (expiry,) = log.state.unfinished()
    assert (expiry.task, expiry.topic_id) == (TopicTask.EXPIRE, TOPIC_ID)
    log.now_ms += KEPT_MS
    assert log.topics_done() == 1
    assert (log.state.unfinished(), log.state.route_topics_counted(WORKSPACE)) == ([], 0)


def test_a_topic_in_the_way_of_a_route_is_a_conflict_too() -> None:
    log = a_workspace()
    reply = log.send(asked(), key="k")
    log.topics_done(failed="it exists", taken="It exists with 3 partitions. Delete it.")
    (verdict,) = log.verdicts[reply.correlation]
    assert (verdict.status, outcome(verdict)) == (409, "topic_exists")
    assert log.workflows() == []


def test_what_can_never_be_made_frees_its_names_and_its_key() -> None:
    log = a_workspace()
    reply = log.send(asked(), key="k")
    log.topics_done(failed="policy violation")
    (verdict,) = log.verdicts[reply.correlation]
    assert (verdict.status, outcome(verdict)) == (503, "workflow_not_created")
    assert (log.workflows(), log.state.unfinished(), log.state.route_topics_counted(WORKSPACE)) == ([], [], 0)
    again = log.send(asked(), key="k")
    log.topics_done()
    assert outcome(log.verdicts[again.correlation][0]) == 201


def test_a_workspace_has_so_many_and_no_more() -> None:
    log = a_workspace()
    for number in range(100):
        log.send(asked(f"wf_{number}", f"{TOPIC}-{number}"))
        log.topics_done()
    assert outcome(log.ask(asked("wf_more", f"{TOPIC}-more"))) == "topic_limit_reached"
    log.ask(DeleteWorkflow(id="wf_1"))
    assert outcome(log.ask(asked("wf_more", f"{TOPIC}-more"))) == "topic_limit_reached"
    assert log.ask(asked("wf_1", f"{TOPIC}-1")) is None


def test_there_is_no_secret_to_rotate() -> None:
    assert outcome(with_workflow().ask(RotateSecret(id="wf_lake"))) == "workflow_not_signed"


@pytest.mark.parametrize("kept", [0, 3, None])
def test_records_read_again_change_nothing(kept: int | None) -> None:
    log = with_workflow()
    log.ask(DeleteWorkflow(id="wf_lake"))
    log.send(asked("wf_new"))
    log.topics_done()
    entries, control = dict(log.table.entries), dict(log.control)
    log.read_again(1 if kept else 0, kept if kept else (0 if kept == 0 else None))
    assert (log.table.entries, log.control) == (entries, control)
