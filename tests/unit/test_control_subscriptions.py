"""The control agent on subscriptions and system streams, and what the view of `control` then matches."""

from typing import Any

import pytest

from domain.control.subscriptions import LIMITS
from domain.entities.control_view import ControlView
from schemas.commands.answers import decode_state
from schemas.commands.streams import STREAMS_PER_WORKSPACE_MAX, CreateStream, DeleteStream, UpdateStream
from schemas.commands.subscriptions import CreateSubscription, DeleteSubscription, UpdateSubscription
from schemas.commands.webhooks import RotateSecret
from schemas.commands.workflows import DisableWorkflow, ReactivateWorkflow
from schemas.entities import Subscription, SubscriptionSurface
from tests.support.commands_log import WORKSPACE, CommandsLog, a_workspace, outcome

SPINE, WORK = SubscriptionSurface.SPINE, SubscriptionSurface.WORK


def subscribe(log: CommandsLog, *patterns: str, surface: SubscriptionSurface = SPINE, **more: Any) -> Subscription:
    environment = more.pop("environment", "live")
    asked = CreateSubscription(surface=surface, url="https://acme.example/", patterns=list(patterns), **more)
    verdict = log.ask(asked, environment=environment)
    assert verdict is not None and verdict.status == 201, outcome(verdict)
    made: Subscription = decode_state(verdict.body, Subscription)
    return made


def view_of(log: CommandsLog) -> ControlView:
    view = ControlView()
    for key, value in log.control.items():
        view.apply(key, value)
    return view


@pytest.mark.requirement("S-045", "X-41")
def test_the_eleventh_subscription_of_an_org_is_refused() -> None:
    log = a_workspace()
    made = [subscribe(log, "code.*", environment=env) for env in ("live", "test") for _ in range(LIMITS[SPINE] // 2)]
    one_more = CreateSubscription(surface=SPINE, url="https://acme.example/", patterns=["*"])
    assert outcome(log.ask(one_more)) == "subscription_limit_reached"
    assert subscribe(log, "task.*", surface=WORK).id.startswith("whk_"), "the surfaces count apart"
    assert outcome(log.ask(DeleteSubscription(id=made[0].id))) == 204
    assert outcome(log.ask(DeleteSubscription(id=made[0].id))) == "subscription_not_found"
    assert outcome(log.ask(one_more)) == 201


@pytest.mark.requirement("S-033", "S-016")
def test_an_event_meets_the_subscriptions_of_its_own_workspace_environment_and_surface() -> None:
    log = a_workspace()
    code, all_of = subscribe(log, "code.*", "lead.*"), subscribe(log, "*")
    subscribe(log, "*", environment="test")
    subscribe(log, "*", surface=WORK)
    view = view_of(log)
    both = tuple(sorted((code.id, all_of.id)))
    assert view.subscribed(WORKSPACE, "live", "spine", "code.analysis.complete") == both
    assert view.subscribed(WORKSPACE, "live", "spine", "review.x") == (all_of.id,)
    assert view.subscribed("ws_another", "live", "spine", "code.x") == ()
    mine = view.subscriptions_of(WORKSPACE, "live", "spine")
    assert {one.id for one in mine} == {code.id, all_of.id}


@pytest.mark.requirement("S-032")
def test_the_view_follows_changes_and_deletions() -> None:
    log = a_workspace()
    one = subscribe(log, "code.*")
    view = ControlView()

    def follow() -> tuple[str, ...]:
        view.apply(one.to_entity().key, log.control.get(one.to_entity().key))
        return view.subscribed(WORKSPACE, "live", "spine", "code.x")

    assert follow() == (one.id,)
    assert outcome(log.ask(UpdateSubscription(id=one.id, patterns=["lead.*"]))) == 200
    assert follow() == ()
    assert outcome(log.ask(UpdateSubscription(id=one.id, patterns=["code.*"]))) == 200
    assert follow() == (one.id,)
    assert outcome(log.ask(DeleteSubscription(id=one.id))) == 204
    assert follow() == () and view.subscription(WORKSPACE, "live", one.id) is None


@pytest.mark.requirement("A-066")
def test_a_subscription_is_disabled_by_a_410_and_reactivated_like_any_target() -> None:
    log = a_workspace()
    one = subscribe(log, "code.*")
    assert outcome(log.ask(DisableWorkflow(id=one.id, reactivations=0))) == 200
    assert view_of(log).subscription(WORKSPACE, "live", one.id).disabled_ms == log.now_ms  # type: ignore[union-attr]
    assert outcome(log.ask(ReactivateWorkflow(id=one.id))) == 200
    assert view_of(log).subscription(WORKSPACE, "live", one.id).disabled_ms is None  # type: ignore[union-attr]


@pytest.mark.requirement("X-09")
def test_a_secret_that_the_caller_chose_is_not_ours_to_rotate() -> None:
    log = a_workspace()
    callers, issued = subscribe(log, "*", sealed_secret=b"signed"), subscribe(log, "*", surface=WORK)
    assert outcome(log.ask(RotateSecret(id=callers.id))) == "secret_not_issued"
    assert outcome(log.ask(RotateSecret(id=issued.id))) == 200


@pytest.mark.requirement("S-001")
def test_a_system_stream_is_its_own_surfaces_alone_and_does_not_count() -> None:
    log = a_workspace()
    assert outcome(log.ask(CreateStream(name="spine"))) == "stream_exists"
    made = log.ask(CreateStream(name="spine"), surface="spine")
    assert made is None, "its topic is being made"
    assert log.topics_done() == 1
    assert outcome(log.ask(CreateStream(name="spine"), surface="spine")) == "stream_exists"
    for payload in (UpdateStream(stream="spine", description="mine"), DeleteStream(stream="spine")):
        assert outcome(log.ask(payload)) == "stream_not_found"
    for number in range(STREAMS_PER_WORKSPACE_MAX):
        log.ask(CreateStream(name=f"stream-{number}"))
    assert outcome(log.ask(CreateStream(name="one-more"))) == "stream_limit_reached"
