"""Replays on the real gateway: of one event and of a stream's, progress, cancelling, and what is refused.

What is sent is processors/lifecycle's (tests/pipeline/lifecycle); here a replay stands as it was started.
"""

from typing import Any

import pytest

from schemas.ids import is_id
from tests.contract.gateway.conftest import Answer, Gateway
from tests.contract.gateway.test_lookups import EVENT_ID, OTHER_ID, an_event, write

ORDERS = "orders-prod"
SPAN = {"stream": ORDERS, "from": "2026-05-18T00:00:00Z", "to": "2026-05-19T00:00:00Z"}


@pytest.fixture
async def stream(gateway: Gateway) -> None:
    workflow = {"id": "wf_billing", "name": "Billing", "url": "https://billing.example.com/"}
    assert (await gateway.ask("POST", "/v1/workflows", workflow)).status == 201
    assert (await gateway.ask("POST", "/v1/event-streams", {"name": ORDERS})).status == 201


async def start(gateway: Gateway, **changes: Any) -> Answer:
    return await gateway.ask("POST", "/v1/replays", {**SPAN, **changes})


@pytest.mark.requirement("A-068")
async def test_one_event_is_replayed_to_all_or_to_named_workflows(gateway: Gateway, stream: None) -> None:
    write(gateway, an_event(gateway))
    path = f"/v1/events/{EVENT_ID}/replay"
    for number, body in ((1, None), (2, {}), (3, {"workflows": ["wf_billing"]})):
        replay = await gateway.ask("POST", path, body)
        assert replay.status == 202, replay.body
        assert (replay.json["event_id"], replay.json["number"]) == (EVENT_ID, number)
        assert replay.json["workflows"] == (["wf_billing"] if number == 3 else None)
    missing = await gateway.ask("POST", f"/v1/events/{OTHER_ID}/replay")
    assert (missing.status, missing.code) == (404, "event_not_found")
    assert (await gateway.ask("POST", path, key="test")).code == "event_not_found"
    unknown = await gateway.ask("POST", path, {"workflows": ["wf_billing", "wf_nobody"]})
    assert (unknown.status, unknown.fields) == (400, ["workflows[1]"])


@pytest.mark.requirement("A-068")
async def test_a_streams_replay_is_shown_and_cancelled_once(gateway: Gateway, stream: None) -> None:
    started = await start(gateway, status="failed", type="order.fulfilled", workflows=["wf_billing"])
    assert started.status == 202, started.body
    replay = started.json
    assert is_id(replay["id"], "rpl_")
    about = {name: replay[name] for name in ("stream", "from", "to", "event_status", "type", "workflows", "status")}
    assert about == {
        "stream": ORDERS,
        "from": "2026-05-18T00:00:00.000Z",
        "to": "2026-05-19T00:00:00.000Z",
        "event_status": "failed",
        "type": "order.fulfilled",
        "workflows": ["wf_billing"],
        "status": "running",
    }
    path = f"/v1/replays/{replay['id']}"
    assert (await gateway.ask("GET", path)).json == replay
    assert (await gateway.ask("GET", path, key="test")).code == "replay_not_found"
    assert (await gateway.ask("DELETE", path, key="test")).code == "replay_not_found"
    cancelled = await gateway.ask("DELETE", path)
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    assert (await gateway.ask("DELETE", path)).json == (await gateway.ask("GET", path)).json == cancelled.json


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"from": None}, ["from"]),
        ({"from": "yesterday", "to": 5}, ["from", "to"]),
        ({"to": "2026-05-17T00:00:00Z"}, ["to"]),
        ({"status": "lost", "type": "Order", "workflows": "wf_billing"}, ["status", "type", "workflows"]),
        ({"workflows": ["billing"], "since": 1}, ["since", "workflows[0]"]),
        ({"stream": "No"}, ["stream"]),
    ],
)
async def test_all_that_is_wrong_is_told_at_once(gateway: Gateway, changes: dict[str, Any], fields: list[str]) -> None:
    refused = await start(gateway, **changes)
    assert (refused.status, sorted(refused.fields)) == (400, fields)


async def test_a_stream_that_is_not_there_has_no_replay(gateway: Gateway) -> None:
    assert (await start(gateway)).code == "stream_not_found"
