"""`/v1/ai/*` with a local OpenAI-compatible server behind it: plans, summaries, keys, limits, guardrails."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from ingest_gateway.surfaces.burn.app import BURN
from ingest_gateway.surfaces.work.app import WORK
from tests.support.events_surface import Answer
from tests.support.openai_server import OpenAiServer, openai_server
from tests.support.ports import free_port
from tests.support.work_installation import WorkInstallation, WorkSurface

PLAN = json.dumps({"tasks": [{"title": "Collect"}, {"title": "Write", "dependsOn": [0], "dueOn": "soon"}]})
GOAL = {"text": "Prepare the forecast"}


@pytest.fixture
async def model() -> AsyncIterator[OpenAiServer]:
    async with openai_server() as server:
        yield server


@pytest.fixture
async def work(installation: WorkInstallation, model: OpenAiServer) -> AsyncIterator[WorkSurface]:
    env = {"ATLAS_LLM_BASE_URL": model.url, "ATLAS_LLM_API_KEY": "sk-of-the-provider", "ATLAS_SURFACES": "work"}
    async with installation.surface(**env) as surface:
        yield surface


async def test_a_plan(work: WorkSurface, model: OpenAiServer) -> None:
    model.says = [PLAN]
    planned = await work.ask("POST", "/v1/ai/plan", GOAL)
    assert planned.status == 200, planned.body
    assert [task["title"] for task in planned.json["tasks"]] == ["Collect", "Write"]
    assert planned.json["tasks"][1]["dependsOn"] == [0] and planned.json["tasks"][1]["dueOn"] is None
    assert planned.json["usage"] == {"inputTokens": 142, "outputTokens": 18}
    ((headers, asked),) = model.asked
    assert headers["Authorization"] == "Bearer sk-of-the-provider"
    assert json.loads(asked["messages"][1]["content"]) == {"goal": GOAL["text"]}
    assert (await work.ask("GET", "/v1/tasks")).json["items"] == []


async def test_a_summary_is_made_of_the_projects_tasks(work: WorkSurface, model: OpenAiServer) -> None:
    model.says = ["All is well."]
    project_id = await work.a_project()
    await work.made("/v1/tasks", {"projectId": project_id, "title": "Collect"})
    summary = await work.ask("POST", "/v1/ai/summarize", {"projectId": project_id})
    assert (summary.status, summary.json["summary"], summary.json["tasks"]) == (200, "All is well.", 1)
    assert "Collect" in model.asked[0][1]["messages"][1]["content"]
    unknown = await work.ask("POST", "/v1/ai/summarize", {"projectId": f"prj_{'0' * 26}"})
    assert (unknown.status, unknown.code, unknown.fields) == (422, "unknown_project", ["projectId"])


@pytest.mark.requirement("X-35", "W-041")
async def test_a_key_is_in_flight_until_the_model_has_answered(work: WorkSurface, model: OpenAiServer) -> None:
    model.says = [PLAN]
    model.hold.clear()
    key = {"Idempotency-Key": "k"}
    first = asyncio.create_task(work.ask("POST", "/v1/ai/plan", GOAL, headers=key))
    async with asyncio.timeout(30):
        while not model.asked:  # noqa: ASYNC110 a server's list has no event
            await asyncio.sleep(0.01)
    meanwhile = await work.ask("POST", "/v1/ai/plan", GOAL, headers=key)
    assert (meanwhile.status, meanwhile.code) == (409, "idempotency_in_flight")
    assert meanwhile.headers["Retry-After"] == "1"
    model.hold.set()
    answered = await first
    again = await work.ask("POST", "/v1/ai/plan", {"text": "Another"}, headers=key)
    assert (again.status, again.body) == (200, answered.body) and len(model.asked) == 1


@pytest.mark.requirement("X-35")
async def test_a_failure_leaves_the_key_free(work: WorkSurface, model: OpenAiServer) -> None:
    key = {"Idempotency-Key": "k"}
    model.status = 500
    failed = await work.ask("POST", "/v1/ai/plan", GOAL, headers=key)
    assert (failed.status, failed.code) == (503, "ai_unavailable")
    model.status, model.says = 200, ["I would rather not", PLAN]
    unusable = await work.ask("POST", "/v1/ai/plan", GOAL, headers=key)
    assert (unusable.status, unusable.code) == (503, "ai_unusable")
    assert (await work.ask("POST", "/v1/ai/plan", GOAL, headers=key)).status == 200


async def test_without_a_model(installation: WorkInstallation) -> None:
    async with installation.surface() as without:
        for path in ("plan", "summarize"):
            refused = await without.ask("POST", f"/v1/ai/{path}", {})
            assert (refused.status, refused.code) == (503, "ai_not_configured")


@pytest.mark.requirement("W-036", "W-037", "X-32")
async def test_calls_count_in_their_own_class_alone(installation: WorkInstallation, model: OpenAiServer) -> None:
    model.says = [PLAN]
    env = {"ATLAS_LLM_BASE_URL": model.url, "ATLAS_RATE_LIMITS": "on", "ATLAS_SURFACES": "work"}
    # The classes' own depths, draining so slowly that no machine is slow enough to see it.
    slow = {"work.ai": {"per_minute": 1, "burst": 20}, "work.write": {"per_minute": 1, "burst": 60}}
    async with installation.surface(**env, ATLAS_RATE_OVERRIDES=json.dumps({"*": slow})) as limited:
        first, second = [await limited.ask("POST", "/v1/ai/plan", GOAL) for _ in range(2)]
        assert [answer.headers["X-RateLimit-Limit"] for answer in (first, second)] == ["20", "20"]
        writes = [left(await limited.ask("POST", "/v1/projects", {"name": "x"})) for _ in range(2)]
        # A gateway that has just ended may hold its share for a while, so that a half is all there is.
        assert {left(first), left(second)} <= {19, 18, 9, 8}
        assert set(writes) <= {59, 58, 29, 28}


def left(answer: Answer) -> int:
    return int(answer.headers["X-RateLimit-Remaining"])


async def test_calls_go_through_the_edge_proxy_where_it_is(installation: WorkInstallation, model: OpenAiServer) -> None:
    """With the tenant's org key, so that guardrails see them; the provider gets its own key."""
    model.says = [PLAN]
    env = {"ATLAS_LLM_BASE_URL": model.url, "ATLAS_LLM_API_KEY": "sk-1", "ATLAS_BURN_PORT": str(free_port())}
    async with installation.surface(surfaces=(WORK, BURN), **env) as work:
        planned = await work.ask("POST", "/v1/ai/plan", GOAL)
        assert planned.status == 200, planned.body
        ((headers, _),) = model.asked
        assert headers["Authorization"] == "Bearer sk-1"
        assert headers["Accept-Encoding"] == "identity"  # as the proxy asks
        assert not any(name.lower().startswith("atlasburn") for name in headers)
