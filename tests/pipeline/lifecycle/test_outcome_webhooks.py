"""Outcome webhooks, rotated secrets and replays on one whole installation, every process and the broker real."""

import json

import pytest

from bench.system import System
from deploy.local.spawn import wait_until
from tests.pipeline.lifecycle.conftest import WAIT_SECONDS, Tenant
from tests.support.receiver import Receiver, answer
from tests.support.verifying import NODE, verifies_by_library, verifies_in_node
from tests.support.victims import kill

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("outcome webhooks")]


@pytest.mark.requirement("A-054", "A-056", "A-060", "A-061", "A-062", "A-063", "A-064")
def test_an_event_is_reported_as_delivered_once_all_routes_acknowledged(tenant: Tenant) -> None:
    tenant.receiver.script(tenant.path("late"), answer(503), answer(200))
    (quick, _), (late, _) = tenant.workflow("quick"), tenant.workflow("late")
    endpoint = tenant.endpoint()
    tenant.stream(quick, late)
    event_id = tenant.send()
    notified = tenant.wait_until_notified(event_id, "event.retry_scheduled", "event.delivered")
    by_type = {body["type"]: body for body in notified}
    assert {by_type[kind]["data"]["workflow_id"] for kind in by_type} == {late}
    assert by_type["event.retry_scheduled"]["data"]["attempt"] == 1
    delivered = by_type["event.delivered"]
    assert delivered["data"]["attempt"] == 2 and delivered["data"]["stream"] == tenant.name
    event = tenant.api.wait_for_status(event_id, "delivered")
    assert {attempt["workflow_id"] for attempt in event["attempts"]} == {quick, late}
    assert delivered["data"]["latency_ms"] >= 300
    for request in tenant.requests("notified"):
        assert request.headers["content-type"] == "application/json"
        assert request.headers["webhook-id"] == json.loads(request.body)["id"]
        assert verifies_by_library(request, endpoint["signing_secret"])


@pytest.mark.requirement("A-054", "A-056", "A-067")
def test_a_route_that_is_exhausted_is_reported_as_failed_and_webhooks_cause_none(tenant: Tenant) -> None:
    """The endpoint itself fails at first: it is tried again, and hears nothing about itself."""
    tenant.receiver.script(tenant.path("broken"), answer(500))
    tenant.receiver.script(tenant.path("notified"), answer(500), answer(200))
    broken, _ = tenant.workflow("broken")
    tenant.endpoint("event.failed")
    tenant.stream(broken)
    event_id = tenant.send()
    tenant.wait_until_notified(event_id, "event.failed", "event.failed")
    first, second = tenant.requests("notified")
    assert first.body == second.body and first.headers["webhook-id"] == second.headers["webhook-id"]
    assert [request.headers["x-atlas-attempt"] for request in (first, second)] == ["1", "2"]
    assert json.loads(first.body)["data"]["attempt"] == 3
    event = tenant.api.wait_for_status(event_id, "failed")
    assert [attempt["workflow_id"] for attempt in event["attempts"]] == [broken]


@pytest.mark.requirement("A-055")
def test_an_endpoint_that_is_tried_gets_a_test(tenant: Tenant) -> None:
    endpoint = tenant.endpoint("event.failed")
    trial = tenant.post(202, f"/v1/webhook-endpoints/{endpoint['id']}/test")
    (request,) = tenant.wait_for("notified", 1)
    body = json.loads(request.body)
    assert (body["id"], body["type"]) == (trial["id"], "webhook.test")
    assert verifies_by_library(request, endpoint["signing_secret"])


@pytest.mark.requirement("A-055", "A-066")
def test_an_endpoint_that_answered_410_is_reactivated_and_gets_what_waited(tenant: Tenant) -> None:
    tenant.receiver.script(tenant.path("notified"), answer(410), answer(200))
    endpoint = tenant.endpoint()
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    tenant.post(202, path + "/test")
    assert wait_until(lambda: tenant.get(path).json["status"] == "disabled", WAIT_SECONDS)
    tenant.post(202, path + "/test")
    assert len(tenant.requests("notified")) == 1
    assert tenant.post(200, path + "/reactivate")["status"] == "active"
    bodies = [json.loads(request.body)["id"] for request in tenant.wait_for("notified", 3)]
    assert len(bodies) == 3 and len(set(bodies)) == 2


@pytest.mark.requirement("F47", "A-057", "A-058")
@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_a_rotated_secret_overlaps_with_the_one_before(tenant: Tenant) -> None:
    workflow, old = tenant.workflow("one")
    tenant.stream(workflow)
    path = f"/v1/workflows/{workflow}/rotate-secret"
    rotated = tenant.post(200, path, {"overlap_seconds": 3_600})
    new = rotated["signing_secret"]
    assert new != old and "previous_secret_until" in rotated
    tenant.send(1)
    (both,) = tenant.wait_for("one", 1)
    assert both.headers["x-atlas-signature"].count("v1=") == 2
    for secret in (new, old):
        assert verifies_in_node(both, secret)
        assert verifies_by_library(both, secret)
    newest = tenant.post(200, path, {"overlap_seconds": 0})["signing_secret"]
    tenant.send(2)
    _, only = tenant.wait_for("one", 2)
    assert verifies_in_node(only, newest) and verifies_by_library(only, newest)
    for secret in (new, old):
        assert not verifies_in_node(only, secret)
        assert not verifies_by_library(only, secret)
    assert "signing_secret" not in tenant.get(f"/v1/workflows/{workflow}").json


@pytest.mark.requirement("A-067", "A-068")
def test_a_failed_event_is_fixed_replayed_and_delivered(tenant: Tenant) -> None:
    tenant.receiver.script(tenant.path("fixed"), answer(500))
    (fixed, _), (fine, _) = tenant.workflow("fixed"), tenant.workflow("fine")
    tenant.endpoint("event.failed", "event.delivered")
    tenant.stream(fixed, fine)
    event_id = tenant.send()
    tenant.api.wait_for_status(event_id, "failed")
    tenant.receiver.script(tenant.path("fixed"), answer(200))
    replay = tenant.post(202, f"/v1/events/{event_id}/replay", {"workflows": [fixed]})
    assert (replay["event_id"], replay["workflows"]) == (event_id, [fixed])
    event = tenant.api.wait_for_status(event_id, "delivered")
    assert [(one["workflow_id"], one["status"]) for one in event["attempts"]] == [
        (fixed, "delivered"),
        (fine, "delivered"),
    ]
    *failed, again = tenant.requests("fixed")
    assert len(tenant.requests("fine")) == 1
    assert {request.body for request in failed} == {again.body}
    assert again.headers["x-atlas-replay"] == str(replay["number"])
    assert all("x-atlas-replay" not in request.headers for request in failed)
    assert again.headers["webhook-id"] not in {request.headers["webhook-id"] for request in failed}
    tenant.wait_until_notified(event_id, "event.failed", "event.delivered")
    every = tenant.get(f"/v1/events/{event_id}?expand=attempts").json["attempts"]
    assert [one["replay"] for one in every if one["workflow_id"] == fixed] == [0, 0, 0, replay["number"]]
    gone = lambda: tenant.get(f"/v1/replays/{replay['id']}").status == 404  # noqa: E731
    assert wait_until(gone, WAIT_SECONDS)


@pytest.mark.requirement("A-068")
def test_a_streams_events_are_replayed_in_bulk_and_a_replay_can_be_cancelled(tenant: Tenant) -> None:
    workflow, _ = tenant.workflow("one")
    tenant.stream(workflow)
    ids = [tenant.send(number) for number in range(60)]
    tenant.wait_for("one", len(ids))
    asked = {"stream": tenant.name, "from": "2020-01-01T00:00:00Z"}
    none = tenant.post(202, "/v1/replays", asked | {"type": "order.cancelled"})
    replay = tenant.post(202, "/v1/replays", asked)
    path = f"/v1/replays/{replay['id']}"
    assert wait_until(lambda: len(tenant.requests("one")) > len(ids), WAIT_SECONDS)
    cancelled = tenant.api.call("DELETE", path).json
    assert cancelled["status"] == "cancelled" and cancelled["ended_at"] is not None
    whole = tenant.post(202, "/v1/replays", asked | {"status": "delivered"})
    assert wait_until(lambda: tenant.get(f"/v1/replays/{whole['id']}").json["status"] == "completed", WAIT_SECONDS)
    assert tenant.get(f"/v1/replays/{whole['id']}").json["replayed"] == len(ids)
    assert wait_until(lambda: tenant.get(f"/v1/replays/{none['id']}").json["status"] == "completed", WAIT_SECONDS)
    assert tenant.get(f"/v1/replays/{none['id']}").json["replayed"] == 0

    def replayed(number: int) -> list[str]:
        sent = [one for one in tenant.requests("one") if one.headers.get("x-atlas-replay") == str(number)]
        return [json.loads(request.body)["id"] for request in sent]

    assert wait_until(lambda: len(replayed(whole["number"])) >= len(ids), WAIT_SECONDS)
    assert sorted(replayed(whole["number"])) == sorted(ids)
    assert len(replayed(replay["number"])) < len(ids)
    assert whole["number"] > replay["number"]


@pytest.mark.requirement("A-056", "A-068", "F1")
def test_a_kill_of_the_process_that_tells_and_replays_leaves_nothing_out(
    installation: tuple[System, Receiver], tenant: Tenant
) -> None:
    workflow, _ = tenant.workflow("one")
    tenant.endpoint("event.delivered")
    tenant.stream(workflow)
    ids = [tenant.send(number) for number in range(40)]
    for event_id in ids:
        tenant.api.wait_for_status(event_id, "delivered")
    replay = tenant.post(202, "/v1/replays", {"stream": tenant.name, "from": "2020-01-01T00:00:00Z"})
    assert wait_until(lambda: len(tenant.requests("one")) > len(ids), WAIT_SECONDS)
    kill(installation[0], "lifecycle")
    ids += [tenant.send(number) for number in range(100, 110)]
    path = f"/v1/replays/{replay['id']}"
    assert wait_until(lambda: tenant.get(path).json["status"] == "completed", WAIT_SECONDS)
    again = [one for one in tenant.requests("one") if "x-atlas-replay" in one.headers]
    assert {json.loads(request.body)["id"] for request in again} == set(ids[:40])
    assert wait_until(lambda: all(tenant.notified(event_id) for event_id in ids), WAIT_SECONDS)
    for event_id in ids:  # what was sent and not yet confirmed is sent again: the same webhook, under the same id
        (body,) = {json.dumps(body) for body in tenant.notified(event_id)}
        assert json.loads(body)["data"]["attempt"] == 1
