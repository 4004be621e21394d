"""The burn surface over a real broker and the real guardrails: what it takes, what it refuses and how it says so."""

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from cli.main import main as atlas
from domain.security.callers import CallerContext
from ingest_gateway.log.telemetry import TelemetryClient
from operations import clock
from schemas.guardrail_policy import nano
from schemas.replies import REPLY_HEADER
from schemas.telemetry import Reserve, Settle
from schemas.times import rfc3339
from tests.pipeline.burn.conftest import Installation, Organization
from tests.pipeline.burn.test_guardrails import example


# (body, status, what the answer has)
@pytest.mark.requirement("B-005", "B-014", "B-015", "B-017", "S11")
@pytest.mark.parametrize(
    ("body", "status", "accepted", "rejected"),
    [
        ({"events": [example(fingerprint="a")]}, 200, 1, 0),
        ([example(fingerprint="a"), example(fingerprint="b")], 200, 2, 0),
        (example(fingerprint="a"), 200, 1, 0),
        ({"events": []}, 200, 0, 0),
        ({"events": [example(fingerprint="a"), example(tokens_in=-1), {}]}, 200, 1, 2),
        ({"events": "none"}, 400, None, None),
        (b"{", 400, None, None),
        (b'{"events": [{"cost_usd": NaN}]}', 400, None, None),
    ],
)
async def test_what_ingest_takes(
    organization: Organization, body: Any, status: int, accepted: int | None, rejected: int | None
) -> None:
    answer = await organization.ask("POST", "/api/ingest", body)
    assert answer.status == status, answer.body
    if status == 200:
        told = answer.json
        assert (told["accepted"], told["rejected"], told["guardrail_status"]) == (accepted, rejected, "ok")
        assert len(told.get("errors", [])) == rejected
    else:
        assert answer.json["error"]["code"] == "invalid_request"


@pytest.mark.requirement("L2", "X-56")
async def test_ten_thousand_calls_and_not_one_more(organization: Organization) -> None:
    calls = [example(ts="2026-05-18T12:34:56Z", fingerprint=f"f{n}", endpoint=None) for n in range(10_001)]
    policy = await organization.ask("PUT", "/api/guardrails/policy", {"burst": {"mode": "off"}})
    assert policy.status == 200
    too_many = await organization.ask("POST", "/api/ingest", calls)
    assert (too_many.status, too_many.json["error"]["code"]) == (413, "payload_too_large")
    told = (await organization.ask("POST", "/api/ingest", calls[:10_000])).json
    assert (told["accepted"], told["guardrail_status"]) == (10_000, "ok")
    forecast = (await organization.ask("GET", "/api/forecast")).json
    assert forecast["days_of_history"] <= 1, "they were made on one day, and long ago"
    assert (await organization.ask("POST", "/api/ingest", b"[" + b" " * 5_300_000 + b"]")).status == 413


@pytest.mark.requirement("B-018", "B-003", "B-020", "B-080")
async def test_who_may_not(organization: Organization) -> None:
    for key in (None, "abn_" + "a" * 20, "nothing", "atlas_live_sk_" + "0" * 32):
        headers = {} if key is None else {"AtlasBurn-API-Key": key}
        async with organization.session.post(organization.urls[0] + "/api/ingest", json=[], headers=headers) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (401, "unauthorized")
    body = {"org_id": "org_other", "action": "suspend", "layer": "manual", "reason": "theirs"}
    for method in ("POST", "DELETE"):
        sent = body if method == "POST" else {"org_id": "org_other", "reason": "theirs"}
        answer = await organization.ask(method, "/api/guardrails/enforce", sent)
        assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden")
    assert (await organization.ask("POST", "/api/ingest", b"[]", Content_Type="text/plain")).status == 415
    assert (await organization.ask("GET", "/api/nothing")).json["error"]["code"] == "not_found"
    assert (await organization.ask("PUT", "/api/ingest", [])).json["error"]["code"] == "method_not_allowed"


# (change, field that is named)
@pytest.mark.requirement("S11", "L1", "B-022")
async def test_a_flag_that_makes_no_sense_is_refused(organization: Organization) -> None:
    sound = {"org_id": organization.id, "action": "suspend", "layer": "manual", "reason": "a look"}
    for change, field in (
        ({"ttl_seconds": -1}, "ttl_seconds"),
        ({"ttl_seconds": 10**18}, "ttl_seconds"),
        ({"ttl_seconds": 10**12}, "ttl_seconds"),
        ({"ttl_seconds": "7200"}, "ttl_seconds"),
        ({"action": "kill"}, "action"),
        ({"reason": ""}, "reason"),
        ({"layer": None}, "layer"),
        ({"scope": "project"}, "scope_id"),
        ({"scope_id": "a"}, "scope_id"),
        ({"extra": 1}, ""),
    ):
        answer = await organization.ask("POST", "/api/guardrails/enforce", sound | change)
        assert answer.status == 400, change
        errors = answer.json["error"]["details"].get("errors", [])
        assert not field or [error["field"] for error in errors] == [field]
    forever = await organization.ask("POST", "/api/guardrails/enforce", sound | {"ttl_seconds": 0})
    assert (forever.status, forever.json["expires_at"]) == (200, None)
    assert (await organization.ask("DELETE", "/api/guardrails/enforce", b"{}")).status == 400


async def test_policies_that_make_no_sense_are_refused(organization: Organization) -> None:
    for policy in (
        {"burst": {"per_minute": 0}},
        {"brust": {}},
        {"dumb_loop": {"mode": "kill"}},
        {"financial_limits": {"caps": [{"period": "day"}]}},
        {"financial_limits": {"caps": [{"period": "day", "scope": "project", "id": "", "hard_usd": 1}]}},
        {"financial_limits": {"caps": [{"period": "day", "id": "a", "hard_usd": 1}]}},
    ):
        answer = await organization.ask("PUT", "/api/guardrails/policy", policy)
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request"), policy


async def test_spans_are_calls(organization: Organization) -> None:
    attributes = [
        {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o-mini"}},
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "142"}},
        {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "318"}},
        {"key": "gen_ai.input.messages", "value": {"stringValue": "again and again"}},
    ]
    start_ns = time.time_ns()
    spans = [
        {
            "traceId": secrets.token_hex(16),
            "spanId": secrets.token_hex(8),
            "startTimeUnixNano": str(start_ns + n),
            "attributes": attributes,
        }
        for n in range(4)
    ]
    bad = spans[0] | {"attributes": [*attributes[:1], {"key": attributes[1]["key"], "value": {"intValue": "-1"}}]}

    async def export(*some: dict[str, Any]) -> tuple[Any, str]:
        body = {"resourceSpans": [{"scopeSpans": [{"spans": list(some)}]}]}
        answer = await organization.ask("POST", "/v1/traces", body)
        assert answer.status == 200, answer.body
        return answer.json, answer.headers["AtlasBurn-Guardrail-Status"]

    assert await export(*spans[:3]) == ({}, "ok")
    assert await export(*spans[:3]) == ({}, "ok"), "exported again they are the same calls"
    partial, status = await export(bad)
    assert (partial["partialSuccess"]["rejectedSpans"], status) == ("1", "ok")
    assert await export(spans[3]) == ({}, "suspended")

    empty = await organization.ask(
        "POST", "/v1/traces", ExportTraceServiceRequest().SerializeToString(), Content_Type="application/x-protobuf"
    )
    assert (empty.status, ExportTraceServiceResponse.FromString(empty.body)) == (200, ExportTraceServiceResponse())
    wrong = await organization.ask("POST", "/v1/traces", b"\xff", Content_Type="application/x-protobuf")
    assert (wrong.status, wrong.json["error"]["code"]) == (400, "invalid_request")


@pytest.mark.requirement("F54")
async def test_of_256_that_reserve_at_once_as_many_go_as_fit(organization: Organization) -> None:
    caps = {"financial_limits": {"caps": [{"period": "day", "hard_usd": 1}]}, "budget_mode": "strict"}
    assert (await organization.ask("PUT", "/api/guardrails/policy", caps)).status == 200
    clients = [
        TelemetryClient(one.events, one.verdicts, append_seconds=30, verdict_seconds=30) for one in organization.clients
    ]
    workspace, caller = organization.workspace, CallerContext()
    asked = (clients[n % 2].submit(workspace, caller, Reserve(id=f"r{n}", cost_nano=nano(0.01))) for n in range(256))
    verdicts = await asyncio.gather(*asked)
    assert [verdict.outcome for verdict in verdicts].count("done") == 100
    assert {verdict.status for verdict in verdicts if verdict.outcome != "done"} == {429}
    granted = [f"r{n}" for n, verdict in enumerate(verdicts) if verdict.outcome == "done"]
    await asyncio.gather(*(clients[0].submit(workspace, caller, Settle(id=one)) for one in granted[:30]))
    status = (await organization.ask("GET", "/api/guardrails/status")).json
    assert status["reservations"] == {"count": 70, "usd": pytest.approx(0.7)}
    assert status["caps"][0]["reserved_usd"] == pytest.approx(0.7)


@pytest.mark.requirement("B-085")
@pytest.mark.parametrize("verdict_seconds", [0.3])
async def test_where_nobody_decides_the_answer_says_so(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records go to the log without a word of who waits, as if the verdict were lost."""
    events = organization.clients[0].events
    append = events.append

    def unanswered(topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> Any:
        return append(topic, key, value, [one for one in headers if one[0] != REPLY_HEADER])

    monkeypatch.setattr(events, "append", unanswered)
    told = await organization.ask("POST", "/api/ingest", example())
    assert told.json == {"accepted": 1, "rejected": 0, "guardrail_status": "ok"}
    assert told.headers["Atlas-Decision"] == "pending"


async def test_a_policy_is_tried_on_what_was(
    organization: Organization, installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = {"dumb_loop": {"mode": "warn"}}
    assert (await organization.ask("PUT", "/api/guardrails/policy", present)).status == 200
    for _ in range(3):
        await organization.ingest(*(example(cost_usd=1.0) for _ in range(3)))
    policy = tmp_path / "new.yaml"
    policy.write_text("dumb_loop: {repeats: 3}\nttl_seconds: 60\n")
    for name, value in {**installation.env, "ATLAS_KAFKA": installation.kafka, "ATLAS_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    arguments = ["guardrails", "whatif", "--policy", str(policy), "--last", "1h", "--workspace", organization.workspace]
    ran = await asyncio.to_thread(CliRunner().invoke, atlas, arguments)
    assert ran.exit_code == 0, ran.output
    row = next(line.split() for line in ran.output.splitlines() if line.startswith("dumb_loop_detector"))
    assert row[1:5] == ["0", "1", "0", "0.00"]
    assert row[5:7] == ["1", "0"]
    assert ran.output.splitlines()[0] == "the last 1h: 9 calls, 9.00 USD"
    policy.write_text("dumb_loop: {repeat: 3}\n")
    refused = await asyncio.to_thread(CliRunner().invoke, atlas, arguments)
    assert (refused.exit_code, "repeat" in refused.output) == (1, True)


@pytest.mark.requirement("B-054", "B-055")
async def test_pages_of_the_ledger(organization: Organization) -> None:
    policy = {"financial_limits": {"caps": [{"period": "day", "soft_usd": 10}, {"period": "month", "soft_usd": 10}]}}
    assert (await organization.ask("PUT", "/api/guardrails/policy", policy)).status == 200
    for step in (5, 3, 2):
        await organization.ingest(example(cost_usd=step, fingerprint=f"f{step}"))
    found, cursor = [], ""
    while True:
        page = (await organization.ask("GET", f"/api/guardrails/breaches?limit=2{cursor}")).json
        found += page["data"]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [one["reason"].partition(" of")[0] for one in found] == ["100 %"] * 2 + ["80 %"] * 2 + ["50 %"] * 2
    assert (await organization.ask("GET", "/api/guardrails/breaches?layer=none")).status == 400
    assert (await organization.ask("GET", "/api/guardrails/breaches?cursor=cur_x")).status == 400
    later = (await organization.ask("GET", f"/api/guardrails/breaches?from={rfc3339(clock.now_ms() + 60_000)}")).json
    assert later["data"] == []
    for method in ("POST", "PUT", "DELETE"):
        assert (await organization.ask(method, "/api/guardrails/breaches", {})).status == 405, "it only grows"
