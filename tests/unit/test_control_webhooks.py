"""The control agent on webhook endpoints, secrets and replays: what is asked and answered, read again after crashes."""

import msgspec
import pytest

from domain.delivery.webhooks import ENDPOINTS_MAX, delivery_key
from schemas.commands.answers import decode_state
from schemas.commands.replays import CancelReplay, ReplayMoved, StartReplay
from schemas.commands.webhooks import CreateWebhookEndpoint, DeleteWebhookEndpoint, RotateSecret, TryWebhookEndpoint
from schemas.commands.workflows import CreateWorkflow, DisableWorkflow, ReactivateWorkflow
from schemas.entities import Replay, ReplayStatus, State, WebhookEndpoint, Workflow, Workspace
from schemas.records import Verdict
from tests.support.commands_log import WORKSPACE, CommandsLog, a_workspace, outcome

HOOK = CreateWebhookEndpoint(url="https://hooks.acme.example/atlas", events=["event.failed"])
HOUR_MS = 3_600_000


def body(verdict: Verdict | None, of: type[State]) -> State:
    assert verdict is not None
    state: State = decode_state(verdict.body, of)
    return state


def an_endpoint(log: CommandsLog) -> WebhookEndpoint:
    endpoint = body(log.ask(HOOK), WebhookEndpoint)
    assert isinstance(endpoint, WebhookEndpoint)
    return endpoint


def replays(log: CommandsLog) -> list[Replay]:
    return [state for state in log.entities() if isinstance(state, Replay)]


def moved(replay: Replay, number: int, *, ended: bool = False) -> ReplayMoved:
    return ReplayMoved(
        id=replay.id, cursor_ms=number, cursor_id=f"evt_{number}", replayed=number, skipped=0, ended=ended
    )


@pytest.mark.requirement("A-055")
def test_an_endpoint_counts_while_it_is_there() -> None:
    log = a_workspace()
    made = [an_endpoint(log) for _ in range(ENDPOINTS_MAX)]
    assert outcome(log.ask(HOOK, environment="test")) == "webhook_endpoint_limit_reached"
    assert outcome(log.ask(DeleteWebhookEndpoint(id=made[0].id))) == 204
    assert outcome(log.ask(DeleteWebhookEndpoint(id=made[0].id))) == "webhook_endpoint_not_found"
    assert outcome(log.ask(HOOK, environment="test")) == 201


@pytest.mark.requirement("A-055", "A-066")
def test_an_endpoint_is_disabled_by_a_410_and_reactivated_like_a_workflow() -> None:
    log = a_workspace()
    endpoint = an_endpoint(log)
    disabled = body(log.ask(DisableWorkflow(id=endpoint.id, reactivations=0)), WebhookEndpoint)
    assert isinstance(disabled, WebhookEndpoint) and disabled.disabled_ms == log.now_ms
    active = body(log.ask(ReactivateWorkflow(id=endpoint.id)), WebhookEndpoint)
    assert isinstance(active, WebhookEndpoint)
    assert (active.disabled_ms, active.reactivations, active.events) == (None, 1, ["event.failed"])


@pytest.mark.requirement("F47")
def test_a_rotation_keeps_the_secret_before_for_the_overlap() -> None:
    log = a_workspace()
    assert outcome(log.ask(CreateWorkflow(id="wf_a", name="A", url="https://a.example/"))) == 201
    first = body(log.ask(RotateSecret(id="wf_a", overlap_seconds=3_600), key="once"), Workflow)
    again = body(log.ask(RotateSecret(id="wf_a", overlap_seconds=3_600), key="once"), Workflow)
    assert isinstance(first, Workflow) and first == again
    assert (first.secret_version, first.previous_until_ms) == (2, log.now_ms + HOUR_MS)
    last = body(log.ask(RotateSecret(id="wf_a", overlap_seconds=0)), Workflow)
    assert isinstance(last, Workflow) and (last.secret_version, last.previous_until_ms) == (3, None)
    log.read_again(0)
    assert log.workflows() == [last]
    assert outcome(log.ask(RotateSecret(id="wf_b"))) == "workflow_not_found"
    assert outcome(log.ask(RotateSecret(id="whe_b"))) == "webhook_endpoint_not_found"


@pytest.mark.requirement("A-055")
def test_a_trial_is_one_webhook_however_often_its_record_is_read() -> None:
    log = a_workspace()
    endpoint = an_endpoint(log)
    log.send(TryWebhookEndpoint(id=endpoint.id))
    sent = [log.decide(log.log[-1]).changes.deliveries for _ in range(2)]
    assert sent[0] == sent[1] and len(sent[0]) == 1
    assert delivery_key(sent[0][0]) == f"{WORKSPACE}/live/{endpoint.id}".encode()
    assert outcome(log.ask(TryWebhookEndpoint(id="whe_gone"))) == "webhook_endpoint_not_found"


@pytest.mark.requirement("A-068")
def test_replays_are_counted_a_workspace() -> None:
    log = a_workspace()
    asked = StartReplay(stream="orders", from_ms=1, to_ms=2)
    numbers = [body(log.ask(asked, environment=environment), Replay) for environment in ("live", "test", "live")]
    assert [replay.number for replay in numbers if isinstance(replay, Replay)] == [1, 2, 3]
    log.read_again(0)
    assert [state.replays for state in log.entities() if isinstance(state, Workspace)] == [3]
    unknown = log.ask(StartReplay(event_id="evt_1", workflows=["wf_nobody"]))
    assert outcome(unknown) == "invalid_request"
    assert unknown is not None and b"workflows[0]" in unknown.body


@pytest.mark.requirement("A-068")
def test_a_replay_goes_on_ends_and_is_never_taken_back() -> None:
    log = a_workspace()
    log.ask(StartReplay(stream="orders", from_ms=1, to_ms=2))
    (replay,) = replays(log)
    for number, ended, seen, status in (
        (5, False, 5, "running"),
        (3, False, 5, "running"),
        (9, True, 9, "completed"),
        (12, False, 9, "completed"),
    ):
        log.send(moved(replay, number, ended=ended))
        assert [(one.replayed, one.status) for one in replays(log)] == [(seen, status)]
    before = replays(log)
    log.read_again(0)
    assert replays(log) == before
    assert isinstance(body(log.ask(CancelReplay(id=replay.id)), Replay), Replay)
    assert replays(log) == before


@pytest.mark.requirement("A-068")
def test_a_cancelled_replay_stays_so_and_counts_what_was_sent_meanwhile() -> None:
    log = a_workspace()
    log.ask(StartReplay(stream="orders", from_ms=1, to_ms=2))
    (replay,) = replays(log)
    assert outcome(log.ask(CancelReplay(id=replay.id), environment="test")) == "replay_not_found"
    assert outcome(log.ask(CancelReplay(id=replay.id))) == 200
    log.send(moved(replay, 4, ended=True))
    (ended,) = replays(log)
    assert (ended.status, ended.replayed) == (ReplayStatus.CANCELLED, 4)


def test_one_events_replay_is_forgotten_when_it_is_done() -> None:
    log = a_workspace()
    log.ask(StartReplay(event_id="evt_1"))
    (replay,) = replays(log)
    log.send(moved(replay, 1, ended=True))
    assert replays(log) == []
    assert log.state.replays_running(WORKSPACE) == 0
    assert msgspec.json.encode(log.entities())
