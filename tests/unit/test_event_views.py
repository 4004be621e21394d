"""What became of an event: its status by its routes, and the JSON that `GET /v1/events/{id}` shows."""

from itertools import chain, combinations
from typing import Any

import orjson
import pytest

from domain.events.status import EventStatus
from ingest_gateway.read_model.stored import RouteState, StoredEvent, status_of
from ingest_gateway.read_model.views import event_view
from processors.projection.decide import project
from schemas.read_model import AttemptRow, EventRow, attempts, events
from schemas.records import Decision, Outcome
from tests.support.log_records import RECEIVED_MS, a_decision, an_outcome, attempted, decided, delivery_id, event_id

DAY_MS = 86_400_000
ERROR: dict[str, Any] = {"error_code": "upstream_timeout", "error_message": "Search indexer did not respond within 5s"}


def stored(decision: Decision, *outcomes: Outcome) -> StoredEvent:
    (event,) = project(decided(decision)).rows[events]
    made = project(attempted(*outcomes)).rows[attempts] if outcomes else ()
    return StoredEvent(EventRow(*event), tuple(AttemptRow(*row) for row in made))


def shown(event: StoredEvent, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = orjson.loads(orjson.dumps(event_view(event, **options)))
    return answer


@pytest.mark.requirement("A-046", "X-17")
@pytest.mark.parametrize(
    ("routes", "status"),
    [
        ("", "delivered"),
        ("queued", "accepted"),
        ("queued queued", "accepted"),
        ("in_progress", "processing"),
        ("in_progress queued", "processing"),
        ("delivered queued", "processing"),
        ("delivered in_progress", "processing"),
        ("delivered", "delivered"),
        ("delivered delivered", "delivered"),
        ("retry_scheduled", "retried"),
        ("retry_scheduled delivered", "retried"),
        ("retry_scheduled queued", "retried"),
        ("retry_scheduled exhausted", "retried"),
        ("retry_scheduled disabled", "retried"),
        ("exhausted", "failed"),
        ("exhausted delivered", "failed"),
        ("exhausted queued", "processing"),
        ("exhausted in_progress", "processing"),
        ("disabled", "failed"),
        ("disabled delivered", "failed"),
        ("disabled queued", "processing"),
    ],
)
def test_status_by_the_routes_states(routes: str, status: str) -> None:
    assert status_of(routes.split()) == status
    assert status_of(reversed(routes.split())) == status


@pytest.mark.requirement("A-046")
def test_every_mix_of_route_states_has_a_status_and_none_is_final_while_an_attempt_is_to_come() -> None:
    to_come = {RouteState.QUEUED, RouteState.IN_PROGRESS, RouteState.RETRY_SCHEDULED}
    mixes = chain.from_iterable(combinations(RouteState, size) for size in range(len(RouteState) + 1))
    for mix in mixes:
        final = status_of(mix) in (EventStatus.DELIVERED, EventStatus.FAILED)
        assert final == (not to_come & set(mix)), mix


@pytest.mark.requirement("A-047", "A-042")
def test_the_body_has_every_field_and_returns_what_was_sent_as_it_was_sent() -> None:
    decision = a_decision(
        7,
        idempotency_key="3f1b",
        actor=b'{"type":"user","id":"usr_1"}',
        metadata=b'{"z":1.0,"big":12345678901234567890,"a":true}',
    )
    outcome = an_outcome(7)
    view = orjson.dumps(event_view(stored(decision, outcome)))
    assert list(orjson.loads(view)) == [
        "id",
        "object",
        "stream",
        "type",
        "status",
        "received_at",
        "occurred_at",
        "idempotency_key",
        "actor",
        "metadata",
        "attempts",
    ]
    assert b'"metadata":{"z":1.0,"big":12345678901234567890,"a":true}' in view
    assert orjson.loads(view) | {"metadata": None, "attempts": None} == {
        "id": event_id(7),
        "object": "event",
        "stream": "orders",
        "type": "order.fulfilled",
        "status": "delivered",
        "received_at": "2026-05-18T14:22:11.482Z",
        "occurred_at": "2026-05-18T16:22:11+02:00",
        "idempotency_key": "3f1b",
        "actor": {"type": "user", "id": "usr_1"},
        "metadata": None,
        "attempts": None,
    }


def test_what_was_not_sent_is_null_and_data_comes_only_when_asked_for() -> None:
    event = stored(a_decision(routes=[]))
    view = shown(event)
    assert (view["idempotency_key"], view["actor"], view["metadata"]) == (None, None, None)
    assert (view["status"], view["attempts"], "data" in view) == ("delivered", [], False)
    assert orjson.dumps(event_view(event, data=b'{"n":1.50}')).endswith(b'"data":{"n":1.50}}')


@pytest.mark.requirement("A-053", "A-066")
def test_what_waits_behind_a_disabled_workflow_is_shown_as_disabled() -> None:
    """What has ended stays as it ended; what was never tried, and what is due again, waits."""
    routes = ["wf_queued", "wf_retried", "wf_delivered", "wf_active"]
    event = stored(
        a_decision(routes=routes),
        an_outcome(workflow_id="wf_retried", status="retry_scheduled", next_attempt_ms=RECEIVED_MS, **ERROR),
        an_outcome(workflow_id="wf_delivered", delivery_id=delivery_id(2)),
    )
    before = shown(event)
    view = shown(event, disabled=dict.fromkeys(routes[:3], "Billing"))
    said = {"code": "endpoint_disabled", "message": "Billing is disabled; what waits is sent when it is reactivated"}
    assert [one["status"] for one in view["attempts"]] == ["disabled", "disabled", "delivered", "queued"]
    assert [one.get("last_error") for one in view["attempts"]] == [said, said, None, None]
    assert (
        [one["attempt"] for one in view["attempts"]] == [one["attempt"] for one in before["attempts"]] == [1, 2, 1, 1]
    )
    assert not any("next_attempt_at" in one for one in view["attempts"])
    assert view["status"] == before["status"] == "retried"


@pytest.mark.requirement("A-048", "A-049", "A-053", "X-13")
@pytest.mark.parametrize(
    ("outcomes", "attempt"),
    [
        ([], {"status": "queued", "attempt": 1}),
        ([an_outcome(status="in_progress")], {"status": "in_progress", "attempt": 1}),
        ([an_outcome()], {"status": "delivered", "attempt": 1, "completed_at": "2026-05-18T14:22:11.507Z"}),
        (
            [an_outcome(status="retry_scheduled", next_attempt_ms=RECEIVED_MS + 30_000, **ERROR)],
            {
                "status": "retry_scheduled",
                "attempt": 2,
                "next_attempt_at": "2026-05-18T14:22:41.482Z",
                "last_error": {"code": "upstream_timeout", "message": "Search indexer did not respond within 5s"},
            },
        ),
        (
            [
                an_outcome(status="retry_scheduled", attempt=1, next_attempt_ms=1, **ERROR),
                an_outcome(attempt=2, completed_ms=RECEIVED_MS + 1_000),
            ],
            {"status": "delivered", "attempt": 2, "completed_at": "2026-05-18T14:22:12.482Z"},
        ),
        (
            [an_outcome(status="exhausted", attempt=9, error_code="connection_failed")],
            {
                "status": "exhausted",
                "attempt": 9,
                "completed_at": "2026-05-18T14:22:11.507Z",
                "last_error": {"code": "connection_failed", "message": ""},
            },
        ),
        (
            [an_outcome(status="disabled", error_code="endpoint_disabled", error_message="gone")],
            {
                "status": "disabled",
                "attempt": 1,
                "completed_at": "2026-05-18T14:22:11.507Z",
                "last_error": {"code": "endpoint_disabled", "message": "gone"},
            },
        ),
    ],
)
def test_a_route_as_it_is_shown(outcomes: list[Outcome], attempt: dict[str, Any]) -> None:
    assert shown(stored(a_decision(), *outcomes))["attempts"] == [{"workflow_id": "wf_one"} | attempt]


@pytest.mark.requirement("A-047", "A-052")
def test_routes_stand_in_the_event_s_order_and_one_reached_by_a_replay_after_them() -> None:
    event = stored(
        a_decision(routes=["wf_c", "wf_a", "wf_b"]),
        an_outcome(workflow_id="wf_new", delivery_id=delivery_id(9), replay=1, started_ms=RECEIVED_MS + 900),
        an_outcome(workflow_id="wf_b", delivery_id=delivery_id(2)),
        an_outcome(workflow_id="wf_c", delivery_id=delivery_id(3)),
    )
    view = shown(event)
    assert [(item["workflow_id"], item["status"]) for item in view["attempts"]] == [
        ("wf_c", "delivered"),
        ("wf_a", "queued"),
        ("wf_b", "delivered"),
        ("wf_new", "delivered"),
    ]
    assert view["status"] == "processing"


def test_the_last_replay_says_what_a_route_is() -> None:
    event = stored(
        a_decision(),
        an_outcome(attempt=9, status="exhausted", error_code="upstream_status"),
        an_outcome(attempt=1, replay=1, delivery_id=delivery_id(2)),
    )
    view = shown(event)
    assert (view["status"], view["attempts"][0]["attempt"]) == ("delivered", 1)


def test_admitted_again_the_newest_admission_says_the_status_and_every_attempt_shows() -> None:
    later_ms = RECEIVED_MS + DAY_MS
    first = an_outcome(delivery_id=delivery_id(1), status="exhausted", attempt=1, error_code="upstream_status")
    again = stored(a_decision(received_ms=later_ms), first)
    assert shown(again)["attempts"] == [{"workflow_id": "wf_one", "status": "queued", "attempt": 1}]
    assert shown(again)["status"] == "accepted"

    second = an_outcome(delivery_id=delivery_id(2), received_ms=later_ms)
    both = stored(a_decision(received_ms=later_ms), second, first)
    assert shown(both)["status"] == "delivered"
    every = shown(both, every_attempt=True)["attempts"]
    assert [(item["delivery_id"], item["status"]) for item in every] == [
        (delivery_id(1), "exhausted"),
        (delivery_id(2), "delivered"),
    ]


def test_every_attempt_shows_with_its_times_when_asked_for() -> None:
    event = stored(
        a_decision(routes=["wf_one", "wf_two"]),
        an_outcome(attempt=2),
        an_outcome(attempt=1, status="retry_scheduled", http_status=503, next_attempt_ms=RECEIVED_MS, **ERROR),
    )
    first, second = shown(event, every_attempt=True)["attempts"]
    assert (first["status"], first["http_status"], first["started_at"]) == (
        "retry_scheduled",
        503,
        "2026-05-18T14:22:11.492Z",
    )
    assert (second["status"], second["attempt"], second["completed_at"]) == (
        "delivered",
        2,
        "2026-05-18T14:22:11.507Z",
    )


@pytest.mark.requirement("W11", "A-054")
def test_an_acknowledged_attempt_says_what_of_its_answer_could_not_be_read() -> None:
    delivered = an_outcome(status="delivered", http_status=200, error_message="Search indexer answered 200, but …")
    view = shown(stored(a_decision(), delivered), every_attempt=True)
    (attempt,) = view["attempts"]
    assert attempt["note"] == "Search indexer answered 200, but …" and "last_error" not in attempt
