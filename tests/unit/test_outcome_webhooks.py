"""Which outcomes cause webhooks: once each, in any order, however often they are read; and what the webhooks say."""

import itertools
from collections import Counter
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.delivery.outcome_webhooks import (
    NOTHING_NOTIFIED,
    Notified,
    OutcomePosition,
    concerns,
    decide,
    is_whole_story,
    table_key,
    webhooks_of,
)
from domain.delivery.replays import Replayable, replay_deliveries
from domain.delivery.webhooks import WebhookType, trial_webhook
from schemas.entities import Replay, WebhookEndpoint
from schemas.ids import DELIVERY, derived_id, is_id
from schemas.records import Outcome
from schemas.times import rfc3339
from tests.support.log_records import RECEIVED_MS, WORKSPACE, an_outcome

AT_MS = RECEIVED_MS + 1_532  # 2026-05-18T14:22:13.014Z
DELIVERED, FAILED, RETRY = WebhookType.DELIVERED, WebhookType.FAILED, WebhookType.RETRY_SCHEDULED


def outcome(route: str, attempt: int, status: str, *, routes: int = 2, replay: int = 0, **changes: Any) -> Outcome:
    delivery_id = f"dlv_{route}_{replay}"
    fields = {"workflow_id": route, "attempt": attempt, "status": status, "routes": routes, "replay": replay}
    return an_outcome(**{"delivery_id": delivery_id, **fields, **changes})


def an_endpoint(**changes: Any) -> WebhookEndpoint:
    fields: dict[str, Any] = {
        "id": "whe_01JV2X3Y4Z5A6B7C8D9E0F1G2H",
        "workspace": WORKSPACE,
        "created_ms": RECEIVED_MS,
        "environment": "live",
        "name": "The webhook endpoint",
        "url": "https://hooks.acme.example/atlas",
        "events": list(WebhookType),
    }
    return WebhookEndpoint(**fields | changes)


def notified_of(outcomes: list[Outcome]) -> list[tuple[str, str, int] | None]:
    """The webhook that each causes (type, route, attempt), read once in this order."""
    state, webhooks = NOTHING_NOTIFIED, []
    for offset, one in enumerate(outcomes):
        state, kind = decide(state, one, OutcomePosition(offset, AT_MS))
        webhooks.append(None if kind is None else (str(kind), one.workflow_id, one.attempt))
    return webhooks


@pytest.mark.requirement("A-055", "A-056", "A-064", "A-067", "X-16")
@pytest.mark.parametrize(
    ("outcomes", "notified"),
    [
        ([outcome("a", 1, "delivered", routes=1)], [(DELIVERED, "a", 1)]),
        ([outcome("a", 1, "delivered"), outcome("b", 1, "delivered")], [None, (DELIVERED, "b", 1)]),
        (
            [outcome("a", 1, "delivered"), outcome("b", 1, "retry_scheduled"), outcome("b", 2, "delivered")],
            [None, (RETRY, "b", 1), (DELIVERED, "b", 2)],
        ),
        (
            [outcome("b", 1, "retry_scheduled"), outcome("b", 2, "exhausted"), outcome("a", 1, "delivered")],
            [(RETRY, "b", 1), (FAILED, "b", 2), None],
        ),
        ([outcome("a", 3, "exhausted"), outcome("b", 9, "exhausted")], [(FAILED, "a", 3), (FAILED, "b", 9)]),
        (
            [
                outcome("a", 1, "delivered"),
                outcome("b", 9, "exhausted"),
                outcome("b", 1, "delivered", replay=4),
                outcome("b", 1, "delivered", replay=5),
            ],
            [None, (FAILED, "b", 9), (DELIVERED, "b", 1), None],
        ),
        (
            [outcome("a", 1, "delivered"), outcome("x", 1, "delivered", routes=0, replay=1)],
            [None, None],
        ),
        (
            [outcome("a", 1, "delivered", routes=1), outcome("a", 1, "exhausted", routes=1, replay=2)],
            [(DELIVERED, "a", 1), (FAILED, "a", 1)],
        ),
    ],
    ids=[
        "one route",
        "the last of two",
        "the last after a retry",
        "given up: not delivered",
        "each that is given up",
        "a replay completes it, once",
        "a route that is not its own completes nothing",
        "a replay that fails",
    ],
)
def test_what_is_notified(outcomes: list[Outcome], notified: list[tuple[str, str, int] | None]) -> None:
    assert notified_of(outcomes) == notified


@pytest.mark.parametrize(
    ("one", "does"),
    [
        (outcome("a", 1, "delivered"), True),
        (outcome("a", 1, "exhausted"), True),
        (outcome("a", 1, "retry_scheduled"), True),
        (outcome("a", 1, "disabled"), False),
        (outcome("a", 1, "in_progress"), False),
        (outcome("whe_1", 1, "delivered", kind="webhook"), False),
        (outcome("whe_1", 9, "exhausted", kind="webhook"), False),
    ],
)
def test_webhooks_are_never_about_webhooks(one: Outcome, does: bool) -> None:
    assert concerns(one) is does


class History(NamedTuple):
    outcomes: list[Outcome]
    expected: Counter[tuple[str, str]]
    """How often each webhook is sent: by type and the delivery that it names (of event.delivered: none)."""


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Routes of one event, each with attempts that fail and then one that ends it, or none yet."""
    routes = draw(st.integers(1, 4))
    ends = [draw(st.sampled_from(["delivered", "exhausted", None])) for _ in range(routes)]
    outcomes: list[Outcome] = []
    expected: Counter[tuple[str, str]] = Counter()
    for number, end in enumerate(ends):
        route, failures = f"wf_{number}", draw(st.integers(0, 3))
        for attempt in range(1, failures + 1):
            outcomes.append(outcome(route, attempt, "retry_scheduled", routes=routes))
            expected[RETRY, f"{route}/{attempt}"] += 1
        if end is not None:
            outcomes.append(outcome(route, failures + 1, end, routes=routes))
        if end == "exhausted":
            expected[FAILED, f"{route}/{failures + 1}"] += 1
    if all(end == "delivered" for end in ends):
        expected[DELIVERED, ""] += 1
    return History(outcomes, expected)


def subject(kind: WebhookType, one: Outcome) -> tuple[str, str]:
    return str(kind), "" if kind is DELIVERED else f"{one.workflow_id}/{one.attempt}"


@pytest.mark.requirement("A-054", "A-056", "X-16")
@given(history=histories(), data=st.data())
def test_each_is_sent_once_in_any_order_however_often_an_outcome_is_on_the_log(
    history: History, data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(history.outcomes), max_size=6)) if history.outcomes else []
    log = data.draw(st.permutations([*history.outcomes, *again]))
    state, notified = NOTHING_NOTIFIED, Counter[tuple[str, str]]()
    for offset, one in enumerate(log):
        state, kind = decide(state, one, OutcomePosition(offset, AT_MS))
        if kind is not None:
            notified[subject(kind, one)] += 1
    assert notified == history.expected


@pytest.mark.requirement("A-054")
@given(history=histories(), data=st.data())
def test_a_log_that_is_read_again_tells_the_same_again_and_nothing_else(history: History, data: st.DataObject) -> None:
    """The process died after the table was written and before the offsets were, from any record on."""
    log = data.draw(st.permutations(history.outcomes))
    since = data.draw(st.integers(0, len(log)))
    state, first = NOTHING_NOTIFIED, {}
    for offset, one in enumerate(log):
        state, kind = decide(state, one, OutcomePosition(offset, AT_MS + offset))
        if kind is not None:
            first[offset] = webhooks_of(kind, one, OutcomePosition(offset, AT_MS + offset), [an_endpoint()])
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Notified)
    second = {}
    for offset, one in itertools.islice(enumerate(log), since, None):
        after, kind = decide(state, one, OutcomePosition(offset, AT_MS + offset))
        assert after == state
        if kind is not None:
            second[offset] = webhooks_of(kind, one, OutcomePosition(offset, AT_MS + offset), [an_endpoint()])
    assert second == {offset: webhooks for offset, webhooks in first.items() if offset >= since}


@pytest.mark.requirement("A-061", "A-062", "A-063")
def test_the_words_are_the_documents() -> None:
    """The document's webhook payload: the same members in the same order, 1428 ms from accept to acknowledgement."""
    one = outcome("wf_billing_sync", 1, "delivered", stream="orders-prod", completed_ms=RECEIVED_MS + 1_428)
    (webhook,) = webhooks_of(DELIVERED, one, OutcomePosition(7, AT_MS), [an_endpoint()])
    assert is_id(webhook.delivery_id, "whd_")
    assert (
        webhook.event
        == (
            f'{{"id":"{webhook.delivery_id}","type":"event.delivered","created_at":"2026-05-18T14:22:13.014Z",'
            f'"data":{{"event_id":"{one.event_id}","stream":"orders-prod","workflow_id":"wf_billing_sync",'
            '"attempt":1,"latency_ms":1428}}'
        ).encode()
    )
    assert rfc3339(AT_MS) == "2026-05-18T14:22:13.014Z"
    assert (webhook.kind, webhook.workflow_id, webhook.routes, webhook.replay) == ("webhook", an_endpoint().id, 0, 0)


@pytest.mark.requirement("A-055")
def test_only_endpoints_that_had_subscribed_are_notified() -> None:
    endpoints = [
        an_endpoint(id="whe_all"),
        an_endpoint(id="whe_failed", events=[FAILED]),
        an_endpoint(id="whe_later", created_ms=AT_MS + 1),
    ]
    one = outcome("a", 1, "delivered")
    webhooks = webhooks_of(DELIVERED, one, OutcomePosition(0, AT_MS), endpoints)
    assert [webhook.workflow_id for webhook in webhooks] == ["whe_all"]
    both = webhooks_of(DELIVERED, one, OutcomePosition(0, AT_MS), [an_endpoint(id="whe_1"), an_endpoint(id="whe_2")])
    assert len({webhook.delivery_id for webhook in both}) == 2


@pytest.mark.requirement("A-055", "A3")
def test_an_endpoint_is_notified_of_its_streams_only() -> None:
    endpoints = [
        an_endpoint(id="whe_all"),
        an_endpoint(id="whe_this", streams=["orders-prod"]),
        an_endpoint(id="whe_both", streams=["other", "orders-prod"]),
        an_endpoint(id="whe_other", streams=["other"]),
    ]
    one = outcome("a", 1, "delivered", stream="orders-prod")
    webhooks = webhooks_of(DELIVERED, one, OutcomePosition(0, AT_MS), endpoints)
    assert [webhook.workflow_id for webhook in webhooks] == ["whe_all", "whe_this", "whe_both"]


def test_an_event_admitted_again_has_a_history_of_its_own() -> None:
    assert table_key(outcome("a", 1, "delivered")) != table_key(outcome("a", 1, "delivered", received_ms=1))


@pytest.mark.parametrize(
    ("one", "whole"),
    [
        (outcome("a", 1, "delivered", routes=1), True),
        (outcome("a", 1, "delivered", routes=2), False),
        (outcome("a", 2, "delivered", routes=1), False),
        (outcome("a", 1, "delivered", routes=1, replay=1), False),
        (outcome("a", 1, "exhausted", routes=1), False),
    ],
)
def test_where_nobody_listens_only_what_is_over_is_left_out(one: Outcome, whole: bool) -> None:
    assert is_whole_story(one) is whole


def test_a_trial_is_the_same_for_the_same_command() -> None:
    first, again = (trial_webhook(an_endpoint(), "cmd_1", AT_MS) for _ in range(2))
    assert first == again
    assert first.delivery_id != trial_webhook(an_endpoint(), "cmd_2", AT_MS).delivery_id
    assert b'"type":"webhook.test"' in first.event


EVENT = Replayable("evt_1", "orders", RECEIVED_MS, ("wf_a", "wf_b"), "events.ws.live.orders", "topic-1", 3, 42)


def a_replay(**changes: Any) -> Replay:
    fields: dict[str, Any] = {"id": "rpl_1", "workspace": WORKSPACE, "created_ms": 1, "environment": "live"}
    return Replay(**fields | {"number": 7, "event_id": "evt_1"} | changes)


@pytest.mark.requirement("A-068")
@pytest.mark.parametrize(
    ("workflows", "expected"),
    [
        ([], [("wf_a", 2), ("wf_b", 2)]),
        (["wf_b"], [("wf_b", 2)]),
        (["wf_other", "wf_a"], [("wf_other", 0), ("wf_a", 2)]),
    ],
)
def test_a_replay_sends_to_the_events_own_routes_or_those_named(
    workflows: list[str], expected: list[tuple[str, int]]
) -> None:
    deliveries = replay_deliveries(a_replay(workflows=workflows), EVENT, b"body")
    assert [(delivery.workflow_id, delivery.routes) for delivery in deliveries] == expected
    assert {(delivery.event_id, delivery.replay, delivery.event) for delivery in deliveries} == {("evt_1", 7, b"body")}


@pytest.mark.requirement("A-068")
def test_a_replays_deliveries_are_new_ones_and_the_same_when_made_again() -> None:
    def made(number: int) -> set[str]:
        return {delivery.delivery_id for delivery in replay_deliveries(a_replay(number=number), EVENT, b"body")}

    where = b"events.ws.live.orders\0topic-1\0" + b"3\0" + b"42"
    first = {derived_id(DELIVERY, RECEIVED_MS, where, route, b"0") for route in (b"wf_a", b"wf_b")}
    assert made(0) == first  # admission's own derivation, with the replay's number in place of 0
    assert made(7) == made(7)
    assert len(made(7) | made(8) | first) == 6
