"""`/v1/webhook-endpoints` on the real gateway: made, shown, rotated, tried, deleted; its secret is shown once."""

from typing import Any

import pytest

from domain.delivery.signatures import signing_secret
from schemas.ids import is_id
from tests.contract.gateway.conftest import MASTER_KEY, Gateway

PATH = "/v1/webhook-endpoints"
ACME = {
    "url": "https://hooks.acme.example/atlas",
    "events": ["event.failed"],
    "description": "Pages whoever is on call",
}
ALL = ["event.delivered", "event.failed", "event.retry_scheduled"]


async def made(gateway: Gateway, **changes: Any) -> dict[str, Any]:
    answer = await gateway.ask("POST", PATH, {**ACME, **changes})
    assert answer.status == 201, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    endpoint: dict[str, Any] = answer.json
    return endpoint


@pytest.mark.requirement("A-054", "A-055", "A-056")
async def test_an_endpoint_is_made_shown_listed_and_deleted(gateway: Gateway) -> None:
    endpoint = await made(gateway)
    secret = endpoint.pop("signing_secret")
    assert is_id(endpoint["id"], "whe_")
    assert secret == signing_secret(MASTER_KEY, f"{gateway.workspace}/live/{endpoint['id']}")
    assert endpoint | ACME == endpoint
    assert (endpoint["status"], endpoint["disabled_at"]) == ("active", None)
    path = f"{PATH}/{endpoint['id']}"
    assert (await gateway.ask("GET", path)).json == endpoint
    listed = (await gateway.ask("GET", PATH)).json
    assert listed == {"object": "list", "data": [endpoint], "has_more": False, "next_cursor": None}
    assert (await gateway.ask("GET", PATH, key="test")).json["data"] == []
    assert (await gateway.ask("GET", path, key="test")).code == "webhook_endpoint_not_found"
    assert (await gateway.ask("DELETE", path, key="test")).code == "webhook_endpoint_not_found"
    assert (await gateway.ask("DELETE", path)).status == 204
    for method in ("GET", "DELETE"):
        assert (await gateway.ask(method, path)).code == "webhook_endpoint_not_found"


async def test_without_a_list_of_events_it_is_told_all(gateway: Gateway) -> None:
    none: tuple[list[str] | None, ...] = (None, [])
    for events in none:
        assert (await made(gateway, events=events))["events"] == ALL


@pytest.mark.requirement("F47")
async def test_its_secret_is_rotated_and_the_one_before_named_with_its_end(gateway: Gateway) -> None:
    endpoint = await made(gateway)
    path = f"{PATH}/{endpoint['id']}"
    entity_id = f"{gateway.workspace}/live/{endpoint['id']}"
    for version, body in ((2, None), (3, {"overlap_seconds": 60}), (4, {"overlap_seconds": 0})):
        rotated = await gateway.ask("POST", path + "/rotate-secret", body)
        assert rotated.status == 200, rotated.body
        assert rotated.json["signing_secret"] == signing_secret(MASTER_KEY, entity_id, version)
        assert ("previous_secret_until" in rotated.json) is (version != 4)
    assert "signing_secret" not in (await gateway.ask("GET", path)).json
    for bad in ({"overlap_seconds": -1}, {"overlap_seconds": 2_592_001}, {"overlap_seconds": "1"}, {"overlap": 1}):
        assert (await gateway.ask("POST", path + "/rotate-secret", bad)).status == 400


@pytest.mark.requirement("F47")
async def test_a_workflows_secret_is_rotated_under_its_own_path_only(gateway: Gateway) -> None:
    workflow = {"id": "wf_billing", "name": "Billing", "url": "https://billing.example.com/"}
    assert (await gateway.ask("POST", "/v1/workflows", workflow)).status == 201
    rotated = await gateway.ask("POST", "/v1/workflows/wf_billing/rotate-secret", headers={"Idempotency-Key": "once"})
    again = await gateway.ask("POST", "/v1/workflows/wf_billing/rotate-secret", headers={"Idempotency-Key": "once"})
    assert rotated.status == again.status == 200 and rotated.body == again.body
    entity_id = f"{gateway.workspace}/live/wf_billing"
    assert rotated.json["signing_secret"] == signing_secret(MASTER_KEY, entity_id, 2)
    endpoint = await made(gateway)
    crossed = await gateway.ask("POST", f"/v1/workflows/{endpoint['id']}/rotate-secret")
    assert crossed.code == "workflow_not_found"
    assert (await gateway.ask("POST", f"{PATH}/wf_billing/rotate-secret")).code == "webhook_endpoint_not_found"


@pytest.mark.requirement("A-055")
async def test_it_is_tried_and_reactivated(gateway: Gateway) -> None:
    endpoint = await made(gateway)
    path = f"{PATH}/{endpoint['id']}"
    trial = await gateway.ask("POST", path + "/test", headers={"Idempotency-Key": "once"})
    assert (trial.status, trial.json["type"]) == (202, "webhook.test")
    assert is_id(trial.json["id"], "whd_")
    again = await gateway.ask("POST", path + "/test", headers={"Idempotency-Key": "once"})
    assert again.json["id"] == trial.json["id"]
    assert (await gateway.ask("POST", path + "/reactivate")).json["status"] == "active"
    for action in ("test", "reactivate", "rotate-secret"):
        missing = await gateway.ask("POST", f"{PATH}/whe_01JV2X3Y4Z5A6B7C8D9E0F1G2H/{action}")
        assert (missing.status, missing.code) == (404, "webhook_endpoint_not_found")


@pytest.mark.requirement("A-055", "W1")
async def test_all_that_is_wrong_is_told_at_once(gateway: Gateway) -> None:
    body = {"url": "http://10.0.0.1/", "events": ["event.lost", 1], "description": 3, "secret": "mine"}
    refused = await gateway.ask("POST", PATH, body)
    assert refused.status == 400
    assert sorted(refused.fields) == ["description", "events[0]", "events[1]", "secret", "url"]
    twice = await gateway.ask("POST", PATH, {**ACME, "events": ["event.failed", "event.failed"]})
    assert twice.fields == ["events[1]"]


async def test_a_workspace_has_so_many_and_no_more(gateway: Gateway) -> None:
    for _ in range(20):
        endpoint = await made(gateway)
    refused = await gateway.ask("POST", PATH, ACME, key="test")
    assert (refused.status, refused.code) == (409, "webhook_endpoint_limit_reached")
    assert (await gateway.ask("DELETE", f"{PATH}/{endpoint['id']}")).status == 204
    assert (await gateway.ask("POST", PATH, ACME, key="test")).status == 201


async def test_a_publishable_key_may_do_none_of_it(gateway: Gateway) -> None:
    for method, path in (("POST", PATH), ("GET", PATH), ("POST", "/v1/replays"), ("POST", "/v1/events/evt_1/replay")):
        content = b"{}" if method == "POST" else None
        assert (await gateway.ask(method, path, content, key="publishable")).status == 403
