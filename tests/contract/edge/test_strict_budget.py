"""`budget_mode: strict` at the proxy: a reservation before each call, settled after; without an answer no call."""

import asyncio
import io
import time
from collections import Counter
from typing import Any, cast

import msgspec
import pytest
from multidict import CIMultiDict

from schemas.commands.answers import RefusalBody
from schemas.guardrail_policy import (
    BudgetMode,
    Burst,
    Cap,
    DumbLoop,
    FinancialLimits,
    GuardrailPolicy,
    Mode,
    Period,
)
from schemas.records import Telemetry, Verdict
from schemas.telemetry import Budget, Reserve, Settle, TelemetryForm, TelemetryPayload, decode_payload
from tests.support.edge_surface import KEY_ID, TOKEN, EdgeSurface
from tests.support.guarded import NOON_MS, GuardedOrg
from tests.support.provider_sdks import WITH_SDKS, openai
from tests.support.provider_stub import Behaviour
from tests.support.talked_down import TALKED_DOWN

PATH = "/openai/v1/chat/completions"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 12}


class Owner:
    """A budget with room for so many calls, decided in the log's order. The guardrails' own rules are shown on a real
    broker by tests/pipeline; here it is what the proxy makes of their answers."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.reserved: dict[str, Reserve] = {}
        self.settled: list[Settle] = []

    def decide(self, _record: Telemetry, payload: TelemetryPayload) -> Verdict | None:
        if isinstance(payload, Settle):
            self.settled.append(payload)
            self.reserved.pop(payload.id, None)
            return Verdict(correlation=b"", outcome="done", status=200)
        assert isinstance(payload, Reserve)
        if self.room == 0:
            fault = RefusalBody(code="budget_exceeded", message="day org: 0.01 of 0.01 USD")
            return Verdict(correlation=b"", outcome="refused", status=429, body=_json(fault))
        self.room -= 1
        self.reserved[payload.id] = payload
        return Verdict(correlation=b"", outcome="done", status=200, body=_json(Budget(id=payload.id)))


_json = msgspec.json.encode


@pytest.fixture
def owner(edge: EdgeSurface) -> Owner:
    owner = Owner(room=100)
    edge.log.decide = owner.decide
    edge.set_policy(budget_mode=BudgetMode.STRICT)
    return owner


@pytest.mark.requirement("F54")
async def test_256_calls_at_once_on_a_budget_for_100(edge: EdgeSurface, owner: Owner) -> None:
    """Exactly 100 go to the provider; the others get 429; every reservation is settled with its real cost."""
    edge.stub.behave = Behaviour(wait_seconds=0.2)

    async def ask() -> int:
        async with edge.post(PATH, BODY) as answer:
            await answer.read()
            return int(answer.status)

    statuses = Counter(await asyncio.gather(*(ask() for _ in range(256))))
    assert statuses == {200: 100, 429: 156}
    assert len(edge.stub.calls) == 100
    calls = await edge.wait_for_calls(100)
    assert {call.cost_nano for call in calls} == {142_500}
    assert owner.reserved == {} and len(owner.settled) == 100


@pytest.mark.requirement("F54")
@pytest.mark.parametrize(
    ("path", "members"),
    [(PATH, {"max_tokens": 200_000}), *TALKED_DOWN],
)
async def test_30_calls_at_once_on_a_dollar(edge: EdgeSurface, path: str, members: dict[str, Any]) -> None:
    """By the guardrails' own rules. Each call then writes all that it may: 200,000 tokens of gpt-4o-mini, 0.12 dollars;
    of eight of them the dollar has room."""
    off = {"dumb_loop": DumbLoop(mode=Mode.OFF), "burst": Burst(mode=Mode.OFF)}
    limits = FinancialLimits(caps=[Cap(period=Period.DAY, hard_usd=1.0)])
    owner = GuardedOrg(GuardrailPolicy(budget_mode=BudgetMode.STRICT, financial_limits=limits, **off))

    def decide(_record: Telemetry, payload: TelemetryPayload) -> Verdict | None:
        effects = owner.report(cast(TelemetryForm, payload), at_seconds=time.time() - NOON_MS / 1_000)
        return None if effects.verdict is None else effects.verdict[1]

    edge.log.decide = decide
    edge.set_policy(budget_mode=BudgetMode.STRICT)
    usage = {"prompt_tokens": 20, "completion_tokens": 200_000}
    answer = _json({"choices": [{"message": {"content": "hi"}}], "usage": usage})
    edge.stub.behave = Behaviour(wait_seconds=0.2, raw=[answer], content_type="application/json")

    async def ask() -> int:
        async with edge.post(path, {**BODY, "model": "gpt-4o-mini", **members}) as got:
            await got.read()
            return int(got.status)

    statuses = Counter(await asyncio.gather(*(ask() for _ in range(30))))
    assert statuses == {200: 8, 429: 22}
    await edge.wait_for_calls(8)
    account = owner.account(at_seconds=time.time() - NOON_MS / 1_000)
    assert (account.reservations, account.day_nano) == (0, 8 * 120_003_000)


async def test_what_is_reserved_is_the_worst_that_the_call_may_cost(edge: EdgeSurface, owner: Owner) -> None:
    async with edge.post(PATH, BODY, **{"AtlasBurn-Project": "search"}) as answer:
        assert answer.status == 200
    reserve = next(p for p in map(decode_payload, edge.log.records) if isinstance(p, Reserve))
    # a token a byte of the body at 2.50, 12 tokens at 10 dollars a million
    assert reserve.cost_nano == len(edge.stub.calls[0].body) * 2_500 + 12 * 10_000
    assert (reserve.project, reserve.model, reserve.key_id) == ("search", "gpt-4o", KEY_ID)
    [call] = await edge.wait_for_calls(1)
    assert owner.settled[0].id == reserve.id == call.event_id


@WITH_SDKS
@pytest.mark.requirement("F54", "B-072")
async def test_over_budget_as_the_sdk_raises_it(edge: EdgeSurface, owner: Owner) -> None:
    owner.room = 0
    async with openai.AsyncOpenAI(
        api_key="sk", base_url=f"{edge.url}/openai/v1", default_headers={"AtlasBurn-API-Key": TOKEN}
    ) as sdk:
        with pytest.raises(openai.RateLimitError, match="Budget Exceeded: day org") as raised:
            await sdk.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    assert raised.value.response.headers["x-atlasburn-reason"] == "financial_limits"
    assert edge.stub.calls == []


@pytest.mark.requirement("F54")
@pytest.mark.parametrize("broken", ["nobody decides", "the log is away", "the log is full"])
async def test_where_nobody_decides_there_is_no_call(hurried: EdgeSurface, broken: str) -> None:
    """The one thing that fails closed, as the organization chose it."""
    hurried.set_policy(budget_mode=BudgetMode.STRICT)
    hurried.log.unreachable = "away" if broken == "the log is away" else None
    hurried.log.busy = broken == "the log is full"
    async with hurried.post(PATH, BODY) as answer:
        body = await answer.json()
        assert (answer.status, body["error"]["code"]) == (503, "budget_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    assert hurried.stub.calls == []
    if broken == "nobody decides":
        release = next(p for p in map(decode_payload, hurried.log.records) if isinstance(p, Settle))
        assert release.call is None, "had it been granted after all, it is given back"


@pytest.mark.requirement("F54", "F55")
async def test_a_client_that_leaves_leaks_nothing(edge: EdgeSurface, owner: Owner) -> None:
    edge.stub.behave = Behaviour(stall_after=1)
    answer = await edge.post(PATH, BODY | {"stream": True})
    await answer.content.readany()
    answer.close()
    [call] = await edge.wait_for_calls(1)
    assert owner.reserved == {}
    assert (owner.settled[0].call, call.tokens_out) == (call, 2)  # "Hello"


async def test_a_call_that_failed_gives_its_reservation_back(edge: EdgeSurface, owner: Owner) -> None:
    edge.stub.behave = Behaviour(status=500, error={"error": {"message": "overloaded"}})
    async with edge.post(PATH, BODY) as answer:
        assert answer.status == 500
    [call] = await edge.wait_for_calls(1)
    assert (owner.reserved, call.cost_nano) == ({}, 0)


@pytest.mark.requirement("F54")
@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        (PATH, b"\x1f\x8b as it is", ["gzip"], 415),
        (PATH, b"\x1f\x8b as it is", ["identity, gzip"], 415),
        (PATH, b"{not json", [], 400),
        ("/anthropic/v1/messages", b"{not json", [], 400),
        ("/gemini/v1beta/models/g-2:generateContent", b"[]", [], 400),
        ("/openai/v1/responses", b'{"model":"gpt-4o","input":"hi","background":true}', [], 400),
        ("/openai/v1/images/generations", b'{"model":"gpt-image-1","prompt":"a cat"}', [], 403),
        ("/openai/v1/batches", b"{}", [], 403),
        ("/anthropic/v1/messages/batches", b"{}", [], 403),
    ],
)
async def test_what_cant_be_priced_is_not_sent(
    edge: EdgeSurface, owner: Owner, path: str, body: bytes, headers: list[str], status: int
) -> None:
    """In the provider's own error form, with what to do instead."""
    sent = [("AtlasBurn-API-Key", TOKEN), *(("Content-Encoding", coding) for coding in headers)]
    async with edge.client.post(edge.url + path, data=body, headers=CIMultiDict(sent)) as answer:
        told = await answer.json()
        assert (answer.status, told["_atlasburn"]["reason"]) == (status, "cost_unreadable")
    assert "budget is strict" in told["error"]["message"]
    assert told.get("type") == ("error" if "anthropic" in path else None)
    assert edge.stub.calls == [] and owner.reserved == {}


async def test_a_body_of_any_length_is_read_before_it_is_priced(edge: EdgeSurface, owner: Owner) -> None:
    """The limit stands behind an image of three megabytes."""
    url = "data:image/png;base64," + "A" * 3 * 1024 * 1024
    content = [{"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": content}], "max_tokens": 200_000}
    text = io.BytesIO(_json(body))
    async with edge.client.post(edge.url + PATH, data=text, headers=edge.headers) as answer:
        assert answer.status == 200
    reserve = next(p for p in map(decode_payload, edge.log.records) if isinstance(p, Reserve))
    assert 200_000 * 10_000 < reserve.cost_nano < 210_000 * 10_000
    assert edge.stub.calls[0].json == body


async def test_what_is_free_needs_no_reservation(edge: EdgeSurface, owner: Owner) -> None:
    owner.room = 0
    edge.stub.behave = Behaviour(raw=[b"{}"], content_type="application/json")
    async with edge.client.get(edge.url + "/openai/v1/models", headers=edge.headers) as answer:
        assert answer.status == 200
    assert edge.log.records == []
