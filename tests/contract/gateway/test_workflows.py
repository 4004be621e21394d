"""`/v1/workflows` on the real gateway: targets of routes; the signing secret is shown once and only to who made it."""

import asyncio
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from domain.delivery.signatures import signing_secret
from domain.security.callers import CallerContext
from operations.new_commands import new_command
from processors.projection.decide import project
from schemas.commands import command_key
from schemas.commands.workflows import DisableWorkflow
from schemas.ids import ULID_PATTERN
from schemas.topics import Topic, stream_topic
from tests.contract.gateway.conftest import MASTER_KEY, Gateway, a_gateway
from tests.support.kafka_topics import produce
from tests.support.log_records import a_decision, decided

PATH = "/v1/workflows"
BILLING = {"id": "wf_billing", "name": "Billing", "url": "https://billing.example.com/hooks?source=atlas"}


@pytest.mark.requirement("A-023", "A-057")
async def test_a_workflow_is_made_shown_listed_and_deleted(gateway: Gateway) -> None:
    made = await gateway.ask("POST", PATH, BILLING)
    assert made.status == 201
    workflow = made.json
    secret = workflow.pop("signing_secret")
    assert secret == signing_secret(MASTER_KEY, f"{gateway.workspace}/live/wf_billing")
    about = ["name", "url", "topic", "status", "ordering", "created_at", "workspace_id"]
    assert list(workflow) == ["id", "object", "kind", *about] and (workflow["kind"], workflow["topic"]) == (
        "http",
        None,
    )
    assert workflow | BILLING == workflow
    assert (await gateway.ask("GET", f"{PATH}/wf_billing")).json == workflow
    listed = (await gateway.ask("GET", PATH)).json
    assert listed == {"object": "list", "data": [workflow], "has_more": False, "next_cursor": None}
    assert (await gateway.ask("DELETE", f"{PATH}/wf_billing")).status == 204
    assert (await gateway.ask("GET", f"{PATH}/wf_billing")).code == "workflow_not_found"
    assert (await gateway.ask("DELETE", f"{PATH}/wf_billing")).code == "workflow_not_found"


@pytest.mark.requirement("S15")
async def test_a_name_that_is_a_formula_or_html_comes_back_as_it_was_and_is_no_page(gateway: Gateway) -> None:
    name = "=cmd|' /C calc'!A0<script>alert(1)</script>"
    made = await gateway.ask("POST", PATH, BILLING | {"name": name})
    shown = await gateway.ask("GET", f"{PATH}/wf_billing")
    assert (made.json["name"], shown.json["name"]) == (name, name)
    assert {answer.headers["Content-Type"].partition(";")[0] for answer in (made, shown)} == {"application/json"}


async def test_a_topic_is_made_for_a_workflow_of_its_kind(gateway: Gateway) -> None:
    topic = f"routes.{gateway.workspace}.live.orders"
    lake = {"id": "wf_lake", "kind": "kafka", "name": "Lake", "topic": topic}
    made = await gateway.ask("POST", PATH, lake)
    assert (made.status, made.json | lake) == (201, made.json)
    assert made.json["url"] is None and "signing_secret" not in made.json
    assert (await gateway.ask("GET", f"{PATH}/wf_lake")).json == made.json
    topics = AdminClient({"bootstrap.servers": gateway.settings.kafka}).list_topics(topic, timeout=20).topics
    assert len(topics[topic].partitions) == gateway.settings.partitions
    taken = await gateway.ask("POST", PATH, {**lake, "id": "wf_other"})
    assert (taken.status, taken.code) == (409, "topic_taken")
    unsigned = await gateway.ask("POST", f"{PATH}/wf_lake/rotate-secret")
    assert (unsigned.status, unsigned.code) == (409, "workflow_not_signed")
    assert (await gateway.ask("DELETE", f"{PATH}/wf_lake")).status == 204


@pytest.mark.requirement("A6", "A7")
async def test_a_topic_of_another_tenant_or_of_atlas_is_refused(gateway: Gateway) -> None:
    prefix = f"routes.{gateway.workspace}.live."
    for topic in (
        "control",
        "orders",
        "routes.ws_other.live.orders",
        f"routes.{gateway.workspace}.test.orders",
        prefix,
    ):
        refused = await gateway.ask("POST", PATH, {"kind": "kafka", "name": "Lake", "topic": topic})
        assert (refused.status, refused.fields) == (400, ["topic"])
        assert prefix in refused.json["error"]["details"]["errors"][0]["message"]


async def test_an_id_is_made_where_none_is_given(gateway: Gateway) -> None:
    made = (await gateway.ask("POST", PATH, {"name": "Search", "url": "https://search.example.com/"})).json
    assert ULID_PATTERN.fullmatch(made["id"].removeprefix("wf_"))


async def test_an_id_is_taken_once_in_its_environment(gateway: Gateway) -> None:
    assert (await gateway.ask("POST", PATH, BILLING)).status == 201
    again = await gateway.ask("POST", PATH, BILLING)
    assert (again.status, again.code) == (409, "workflow_exists")
    in_test = await gateway.ask("POST", PATH, BILLING, key="test")
    assert in_test.status == 201
    assert in_test.json["signing_secret"] == signing_secret(MASTER_KEY, f"{gateway.workspace}/test/wf_billing")


@pytest.mark.requirement("A-088")
async def test_a_repeat_under_its_key_shows_the_same_bytes_with_the_secret(gateway: Gateway) -> None:
    headers = {"Idempotency-Key": '"workflow-1"'}
    first = await gateway.ask("POST", PATH, BILLING, headers=headers)
    again = await gateway.ask("POST", PATH, BILLING, headers=headers)
    assert (first.status, again.status) == (201, 201) and again.body == first.body
    other = await gateway.ask("POST", PATH, {**BILLING, "name": "Else"}, headers=headers)
    assert other.status == 409


@pytest.mark.requirement("W1", "W5")
async def test_addresses_of_ones_own_are_for_development(bootstrap: str, tmp_path: Path, gateway: Gateway) -> None:
    local = {"name": "Local", "url": "http://127.0.0.1:8181/hook"}
    refused = await gateway.ask("POST", PATH, local)
    assert (refused.status, refused.fields) == (400, ["url"])
    async with a_gateway(bootstrap, tmp_path / "other", ATLAS_ALLOW_PRIVATE_TARGETS="1") as development:
        assert (await development.ask("POST", PATH, local)).json["url"] == local["url"]


async def test_all_that_is_wrong_is_told_at_once(gateway: Gateway) -> None:
    refused = await gateway.ask("POST", PATH, {"id": "billing", "url": "ftp://x.example.com/", "secret": "mine"})
    assert (refused.status, sorted(refused.fields)) == (400, ["id", "name", "secret", "url"])
    not_json = await gateway.ask("POST", PATH, b"{", headers={"Content-Type": "application/json"})
    assert (not_json.status, not_json.code) == (400, "invalid_request")
    not_said = await gateway.ask("POST", PATH, b"{}", headers={"Content-Type": "text/plain"})
    assert not_said.status == 415


@pytest.mark.requirement("A-053", "A-066")
async def test_a_workflow_shows_whether_it_is_active_and_is_reactivated(gateway: Gateway) -> None:
    ordered = {**BILLING, "ordering": "per_key"}
    made = (await gateway.ask("POST", PATH, ordered)).json
    assert (made["status"], made["ordering"]) == ("active", "per_key")
    command = new_command(
        DisableWorkflow(id="wf_billing", reactivations=0),
        workspace=gateway.workspace,
        environment="live",
        caller=CallerContext("delivery"),
        now_ms=1,
    )
    produce(gateway.settings.kafka, Topic.COMMANDS, command.encode(), key=command_key(command))
    async with asyncio.timeout(20):
        while (await gateway.ask("GET", f"{PATH}/wf_billing")).json["status"] == "active":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    waiting = a_decision(1, topic=stream_topic(gateway.workspace, "live", "orders"), routes=["wf_billing"])
    gateway.store.apply([project(decided(waiting))])
    (parked,) = (await gateway.ask("GET", f"/v1/events/{waiting.event_id}")).json["attempts"]
    assert (parked["status"], parked["last_error"]["code"]) == ("disabled", "endpoint_disabled")
    reactivated = await gateway.ask("POST", f"{PATH}/wf_billing/reactivate")
    (queued,) = (await gateway.ask("GET", f"/v1/events/{waiting.event_id}")).json["attempts"]
    assert (queued["status"], "last_error" in queued) == ("queued", False)
    assert (reactivated.status, reactivated.json["status"]) == (200, "active")
    unknown = await gateway.ask("POST", f"{PATH}/wf_none/reactivate")
    assert (unknown.status, unknown.code) == (404, "workflow_not_found")
    wrong = await gateway.ask("POST", PATH, {**BILLING, "id": "wf_other", "ordering": "sorted"})
    assert (wrong.status, wrong.fields) == (400, ["ordering"])
