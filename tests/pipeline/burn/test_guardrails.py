"""The document's story through real processes: the fourth identical call suspends, everywhere, until it is resumed."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from domain.events.spine_events import STREAM, source_of
from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from ingest_gateway.log.system_streams import SystemStreams
from operations import clock
from schemas.codec import EVENT
from schemas.records import Audit
from schemas.times import rfc3339
from schemas.topics import Topic
from tests.pipeline.burn.conftest import Installation, Organization
from tests.support.kafka_topics import read_all

FINGERPRINT = "sha256:" + "b9c1" * 16


def example(**changes: Any) -> dict[str, Any]:
    """The document's event, as of now."""
    event = {
        "ts": rfc3339(clock.now_ms()),
        "provider": "openai",
        "model": "gpt-4o-mini",
        "endpoint": "/chat/completions",
        "status": 200,
        "tokens_in": 142,
        "tokens_out": 318,
        "cost_usd": 0.000421,
        "latency_ms": 612,
        "fingerprint": FINGERPRINT,
        "stream": False,
    }
    return event | changes


@pytest.mark.requirement(
    "B-002", "B-004", "B-015", "B-016", "B-023", "B-028", "B-030", "B-050", "B-053", "B-054", "B-083"
)
async def test_the_fourth_identical_call_suspends_everywhere_until_it_is_resumed(organization: Organization) -> None:
    told = [await organization.ingest(example()) for _ in range(4)]
    assert told == [{"accepted": 1, "rejected": 0, "guardrail_status": status} for status in ["ok"] * 3 + ["suspended"]]

    views = [clients.control.view for clients in organization.clients]
    here, there = (view.suspension(organization.workspace, clock.now_ms()) for view in views)
    assert here is not None, "the gateway that answered knows it"
    while there is None:
        await asyncio.sleep(0.001)
        there = views[1].suspension(organization.workspace, clock.now_ms())
    assert there == here
    assert (here.layer, here.reason) == ("dumb_loop_detector", "fingerprint sha256:b9c1... seen 4 times in 60s")

    status = (await organization.ask("GET", "/api/guardrails/status", at=1)).json
    assert (status["status"], status["flag"]["layer"]) == ("suspended", "dumb_loop_detector")
    assert status["spend"]["day_usd"] == 4 * 0.000421
    assert (await organization.ingest(example(), at=1))["guardrail_status"] == "suspended"

    resumed = await organization.ask(
        "DELETE", "/api/guardrails/enforce", {"org_id": organization.id, "reason": "manual_resume"}
    )
    assert resumed.json == {
        "ok": True,
        "kv_key": f"guardrail:{organization.id}",
        "state": "active",
        "expires_at": None,
    }
    assert views[0].suspension(organization.workspace, clock.now_ms()) is None
    assert [(await organization.ingest(example(), at=1))["guardrail_status"] for _ in range(3)] == ["ok"] * 3

    ledger = (await organization.ask("GET", "/api/guardrails/breaches")).json
    assert [(one["layer"], one["action"], one["fingerprint"]) for one in ledger["data"]] == [
        ("dumb_loop_detector", "suspended", FINGERPRINT)
    ]
    assert len(ledger["data"][0]["calls"]) == 4


@pytest.mark.requirement("B-019", "B-021", "B-025", "B-026", "B-028")
async def test_a_flag_by_hand(organization: Organization) -> None:
    body = {
        "org_id": organization.id,
        "action": "suspend",
        "layer": "dumb_loop_detector",
        "ttl_seconds": 7200,
        "reason": "fingerprint sha256:b9c1... seen 4 times in 60s",
    }
    before_ms = clock.now_ms()
    for _ in range(2):
        pushed = (await organization.ask("POST", "/api/guardrails/enforce", body)).json
    expires = datetime.fromisoformat(pushed.pop("expires_at")).astimezone(UTC).timestamp() * 1_000
    assert pushed == {"ok": True, "kv_key": f"guardrail:{organization.id}", "state": "suspended"}
    assert before_ms + 7_200_000 <= expires + 1_000
    assert expires - 1_000 <= clock.now_ms() + 7_200_000
    assert (await organization.ingest(example(fingerprint="f")))["guardrail_status"] == "suspended"
    for _ in range(2):
        cleared = await organization.ask(
            "DELETE", "/api/guardrails/enforce", {"org_id": organization.id, "reason": "manual_resume"}
        )
        assert (cleared.status, cleared.json["state"]) == (200, "active")
    assert (await organization.ingest(example(fingerprint="f")))["guardrail_status"] == "ok"


@pytest.mark.requirement("B-028", "B-051", "B-052", "X-50")
async def test_the_console_suspends_and_resumes_by_the_same_operations(organization: Organization) -> None:
    """With a session in the place of the key; who did it stands in the flag."""
    body = {"org_id": organization.id, "action": "suspend", "layer": "manual", "reason": "a look"}
    pushed = await organization.ask_from_the_console("POST", "/api/guardrails/enforce", body)
    assert (pushed.status, pushed.json["state"]) == (200, "suspended")
    status = (await organization.ask_from_the_console("GET", "/api/guardrails/status")).json
    assert (status["status"], status["flag"]["set_by"]) == ("suspended", "user:ann")
    assert (await organization.ingest(example()))["guardrail_status"] == "suspended"
    cleared = {"org_id": organization.id, "reason": "manual_resume"}
    assert (await organization.ask_from_the_console("DELETE", "/api/guardrails/enforce", cleared)).status == 200
    assert (await organization.ingest(example()))["guardrail_status"] == "ok"
    other = await organization.ask_from_the_console("DELETE", "/api/guardrails/enforce", cleared | {"org_id": "org_x"})
    assert other.status == 403


@pytest.mark.requirement("B-033", "B-039")
async def test_a_policy_counts_from_its_answer_on(organization: Organization) -> None:
    policy = {"financial_limits": {"caps": [{"period": "month", "soft_usd": 1, "hard_usd": 2}]}}
    put = await organization.ask("PUT", "/api/guardrails/policy", policy)
    assert put.status == 200, put.body
    got = (await organization.ask("GET", "/api/guardrails/policy", at=1)).json
    assert got == put.json
    assert got["burst"] == {"mode": "enforce", "per_minute": 600}
    assert (await organization.ingest(example(cost_usd=1.5)))["guardrail_status"] == "ok"
    assert (await organization.ingest(example(cost_usd=0.5)))["guardrail_status"] == "suspended"
    ledger = (await organization.ask("GET", "/api/guardrails/breaches?layer=financial_limits")).json["data"]
    assert [(one["action"], one["observed"]) for one in ledger] == [("suspended", 2), ("warned", 1.5)]
    forecast = (await organization.ask("GET", "/api/forecast")).json
    assert forecast["month_to_date_usd"] == 2
    assert [(cap["kind"], cap["probability"]) for cap in forecast["caps"]] == [("soft", 1.0), ("hard", 1.0)]


@pytest.mark.requirement("B-033", "B-090")
async def test_the_spine_tells_of_warnings_flags_and_resumes(
    installation: Installation, organization: Organization
) -> None:
    """As signed events, which admission takes; so whoever subscribes to `budget.*` has them at a webhook."""
    clients = organization.clients[0]
    spine = await SystemStreams(STREAM, clients.control, clients.commands, timeout_seconds=30).ensure(
        organization.workspace, "live"
    )
    caps = [{"period": "day", "soft_usd": 1, "hard_usd": 2}]
    await organization.ask("PUT", "/api/guardrails/policy", {"financial_limits": {"caps": caps}})
    for usd, status in ((0.4, "ok"), (0.45, "ok"), (1.5, "suspended")):
        assert (await organization.ingest(example(cost_usd=usd)))["guardrail_status"] == status
    warned = (await organization.ask("GET", "/api/guardrails/status")).json["warnings"]
    assert [(one["cap"], one["percent"], one["limit_usd"]) for one in warned] == [("day org", 80, 1)]
    for _ in range(2):
        await organization.ask("DELETE", "/api/guardrails/enforce", {"org_id": organization.id, "reason": "seen to"})

    signer = GatewaySigner(bytes.fromhex(installation.env["ATLAS_MASTER_KEY"]))
    told = []
    async with asyncio.timeout(30):
        while len(told) < 3:
            told = await asyncio.to_thread(read_all, installation.kafka, spine.topic)
    assert all(
        signer.verified_hash(spine.topic, dict(one.headers)[GATEWAY_SIGNATURE], one.value or b"") for one in told
    )
    events = sorted((EVENT.decode(one.value) for one in told), key=lambda event: event["occurred_at"])
    assert [event["type"] for event in events] == ["budget.warning", "guardrail.suspended", "guardrail.resumed"]
    warning, flag, resumed = (msgspec.json.decode(event["data"]) for event in events)
    assert (warning["percent"], warning["spentUsd"], warning["limitUsd"], warning["scope"]) == (80, 0.85, 1, "org")
    assert (flag["layer"], flag["setBy"]) == ("financial_limits", "guardrails")
    assert resumed["reason"] == "seen to"
    assert {source_of(event["actor"]) for event in events} == {"atlasburn.guardrails"}

    audit = await asyncio.to_thread(read_all, installation.kafka, Topic.AUDIT)
    mine = [one for stored in audit if (one := Audit.decode(stored.value)).workspace == organization.workspace]
    by_guardrails = {one.action: one.actor == "guardrails" for one in mine if one.action.startswith("guardrail.")}
    assert by_guardrails == {
        "guardrail.policy": False,
        "guardrail.notice": True,
        "guardrail.warn": True,
        "guardrail.trip": True,
        "guardrail.suspend": True,
        "guardrail.resume": False,
    }


@pytest.mark.requirement("B-079")
async def test_calls_count_once_however_often_they_are_sent(organization: Organization) -> None:
    for gateway in (0, 1, 0):
        told = await organization.ingest(example(event_id="e-1"), example(event_id="e-2"), at=gateway)
        assert told["guardrail_status"] == "ok"
        await organization.ingest(example(fingerprint="x"), at=gateway, Idempotency_Key="once")
    status = (await organization.ask("GET", "/api/guardrails/status")).json
    assert status["spend"]["day_usd"] == pytest.approx(3 * 0.000421)


@pytest.mark.slow
async def test_a_control_process_that_is_killed_decides_on_from_where_it_was(
    organization: Organization, installation: Installation
) -> None:
    for _ in range(3):
        await organization.ingest(example())
    installation.control.kill()
    late = asyncio.create_task(organization.ingest(example()))
    installation.control.spawn()
    await asyncio.to_thread(installation.control.wait_until_ready)
    assert (await late)["guardrail_status"] == "suspended"
    status = (await organization.ask("GET", "/api/guardrails/status")).json
    assert status["spend"]["day_usd"] == pytest.approx(4 * 0.000421)
    ledger = (await organization.ask("GET", "/api/guardrails/breaches")).json["data"]
    assert len(ledger) == 1
