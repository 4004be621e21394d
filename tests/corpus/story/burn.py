"""AtlasBurn and its edge proxy: spend, budgets, a loop that trips, flags by hand."""

import time

from tests.corpus.story.client import Story

CALL = {"provider": "openai", "model": "gpt-4o", "status": 200, "tokens_in": 142, "tokens_out": 318}
EDGE = "/openai/v1/chat/completions"
ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 12}


async def burn(story: Story) -> None:
    caps = [
        {"period": "day", "hard_usd": 1_000, "soft_usd": 3, "scope": "project", "id": "shop"},
        {"period": "month", "hard_usd": 100_000},
    ]
    policy = {"financial_limits": {"caps": caps}, "budget_mode": "strict"}
    await story.good("burn", "PUT", "/api/guardrails/policy", policy)
    call = CALL | {"fingerprint": "sha256:b9c1", "cost_usd": 2.0, "project": "shop"}
    calls = [call | {"ts": _now(), "event_id": f"call-{n}", "fingerprint": f"sha256:{n}"} for n in range(2)]
    await story.made("burn", "/api/ingest", {"events": calls})
    again = await story.made("burn", "/api/ingest", {"events": calls})
    assert again, "told twice, counted once"
    edge = "/openai/v1/chat/completions"
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 12}
    for stream in (False, True):
        told = await story.ask("burn", "POST", edge, asked | {"stream": stream}, AtlasBurn_API_Key=story.keys["burn"])
        assert told.status == 200, told.body
    await story.made("burn", "/api/gate", {"projectId": "shop"})
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": str(time.time_ns() - 10**9),
        "endTimeUnixNano": str(time.time_ns()),
        "attributes": [
            {"key": "gen_ai.system", "value": {"stringValue": "openai"}},
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "10"}},
            {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "20"}},
        ],
    }
    await story.made("burn", "/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    loop = {"events": [call | {"ts": _now(), "session_id": "s-1", "cost_usd": 0.1} for _ in range(5)]}
    tripped = await story.made("burn", "/api/ingest", loop)
    assert tripped["guardrail_status"] == "suspended", tripped
    resume = {"org_id": story.org, "reason": "seen to"}
    await story.good("burn", "DELETE", "/api/guardrails/enforce", resume)
    flag = {"org_id": story.org, "action": "suspend", "layer": "manual", "reason": "drill"}
    await story.made("burn", "/api/guardrails/enforce", flag)
    await story.good("burn", "GET", "/api/guardrails/status")
    await story.good("burn", "DELETE", "/api/guardrails/enforce", resume)
    await story.made("burn", "/api/guardrails/enforce", flag | {"scope": "project", "scope_id": "shop"})
    await story.good("burn", "PUT", "/api/guardrails/policy", policy | {"budget_mode": "open"})
    story.reads += [("burn", "/api/guardrails/policy"), ("burn", "/api/guardrails/breaches")]


async def call_a_model(story: Story) -> None:
    """Through the proxy; its telemetry goes to the log, or to the spool while there is none."""
    await story.ask("burn", "POST", EDGE, ASKED, AtlasBurn_API_Key=story.keys["burn"])


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
