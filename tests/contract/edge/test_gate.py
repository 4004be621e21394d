"""`POST /api/gate`: a client asks before a call; what is not suspended passes."""

from typing import Any

import pytest

from schemas.guardrail_policy import Scope
from tests.support.edge_surface import TOKEN, EdgeSurface

BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def gate(edge: EdgeSurface, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    async with edge.client.post(edge.url + "/api/gate", json=body, headers=headers or edge.headers) as answer:
        return answer.status, await answer.json()


@pytest.mark.requirement("B-069", "B-084")
async def test_who_is_suspended_is_blocked_and_all_others_pass(edge: EdgeSurface) -> None:
    passes = (200, {"blocked": False, "status": "active"})
    asked = {"projectId": "support-bot", "featureId": "answers"}
    assert await gate(edge, {}) == await gate(edge, asked, BEARER) == passes
    edge.suspend(scope=Scope.PROJECT, scope_id="another")
    assert await gate(edge, asked) == passes
    edge.suspend(layer="burst_detector", scope=Scope.PROJECT, scope_id="support-bot")
    assert await gate(edge, {}) == passes
    status, told = await gate(edge, asked, BEARER)
    assert (status, told["blocked"], told["status"], told["reason"]) == (200, True, "suspended", "burst_detector")
    edge.suspend()
    status, told = await gate(edge, {"featureId": None})
    assert (status, told["blocked"], told["reason"]) == (200, True, "dumb_loop_detector")
    assert told["message"] == "fingerprint sha256:b9c1 seen 4 times in 60s"


@pytest.mark.requirement("B-069")
async def test_what_it_can_not_answer_is_no_200(edge: EdgeSurface) -> None:
    """So that a client, which makes its call then, is not stopped by a fault of its own or ours."""
    edge.control.ready = False
    assert (await gate(edge, {}))[0] == 503
    edge.control.ready = True
    assert (await gate(edge, {}, {"Authorization": "Bearer abn_" + "a" * 20}))[0] == 401
    assert (await gate(edge, {"projectId": 7}))[0] == 400


@pytest.mark.requirement("B-045")
async def test_at_the_edge_a_bearer_is_the_providers(edge: EdgeSurface) -> None:
    """Even one of ours: it would have gone to the provider."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    async with edge.client.post(edge.url + "/openai/v1/chat/completions", json=body, headers=BEARER) as answer:
        assert answer.status == 401
    assert edge.stub.calls == []
