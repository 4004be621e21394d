"""The OpenAI and Anthropic SDKs work through the proxy as they are: a base URL and one header more."""

import json
from collections.abc import AsyncIterator

import pytest

from domain.guardrails.prices import cost_of
from schemas.guardrail_policy import Scope
from schemas.telemetry import UsageFrom
from tests.support.edge_surface import KEY_ID, TOKEN, EdgeSurface
from tests.support.provider_sdks import WITH_SDKS, anthropic, openai
from tests.support.provider_stub import TOKENS_IN, TOKENS_OUT, WORDS, Behaviour

pytestmark = WITH_SDKS
TEXT = "".join(WORDS)
HEADER = {"AtlasBurn-API-Key": TOKEN}
ASKED = [{"role": "user", "content": "Say hello, please."}]


@pytest.fixture
async def openai_sdk(edge: EdgeSurface) -> "AsyncIterator[openai.AsyncOpenAI]":
    async with openai.AsyncOpenAI(
        api_key="sk-of-the-caller", base_url=f"{edge.url}/openai/v1", default_headers=HEADER
    ) as sdk:
        yield sdk


@pytest.fixture
async def anthropic_sdk(edge: EdgeSurface) -> "AsyncIterator[anthropic.AsyncAnthropic]":
    async with anthropic.AsyncAnthropic(
        api_key="sk-ant-of-the-caller", base_url=f"{edge.url}/anthropic", default_headers=HEADER
    ) as sdk:
        yield sdk


@pytest.mark.requirement("B-042", "B-043", "B-045")
async def test_openai_chat(edge: EdgeSurface, openai_sdk: "openai.AsyncOpenAI") -> None:
    answer = await openai_sdk.chat.completions.create(model="gpt-4o", messages=ASKED)
    assert answer.choices[0].message.content == TEXT
    assert answer._request_id == "req_of_the_stub", "the provider's own id, as without a proxy"
    assert edge.stub.calls[0].header("Authorization") == "Bearer sk-of-the-caller"
    [call] = await edge.wait_for_calls(1)
    assert (call.provider, call.model, call.endpoint, call.status) == ("openai", "gpt-4o", "/chat/completions", 200)
    assert (call.tokens_in, call.tokens_out, call.cached_tokens) == (TOKENS_IN, TOKENS_OUT, 4)
    assert (call.key_id, call.usage, call.stream) == (KEY_ID, UsageFrom.REPORTED, False)
    # 7 × 2.50 + 4 × 1.25 in, 12 × 10 out, in dollars a million: 142.5 millionths
    assert call.cost_nano == 142_500


@pytest.mark.requirement("B-042", "B-059")
async def test_openai_stream(edge: EdgeSurface, openai_sdk: "openai.AsyncOpenAI") -> None:
    stream = await openai_sdk.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert edge.stub.calls[0].json["stream_options"] == {"include_usage": True}, "asked for by the proxy"
    [call] = await edge.wait_for_calls(1)
    assert (call.tokens_in, call.tokens_out, call.stream) == (TOKENS_IN, TOKENS_OUT, True)
    assert call.usage == UsageFrom.REPORTED


@pytest.mark.requirement("B-044")
async def test_openai_responses_and_embeddings(edge: EdgeSurface, openai_sdk: "openai.AsyncOpenAI") -> None:
    answer = await openai_sdk.responses.create(model="gpt-4.1", input="Say hello.")
    assert answer.output_text == TEXT
    stream = await openai_sdk.responses.create(model="gpt-4.1", input="Say hello.", stream=True)
    assert "".join([event.delta async for event in stream if event.type == "response.output_text.delta"]) == TEXT
    embedded = await openai_sdk.embeddings.create(
        model="text-embedding-3-small", input="hello", encoding_format="float"
    )
    assert len(embedded.data[0].embedding) == 8
    whole, streamed, vector = await edge.wait_for_calls(3)
    assert (whole.tokens_in, whole.tokens_out, whole.cached_tokens) == (TOKENS_IN, TOKENS_OUT, 4)
    assert (streamed.tokens_in, streamed.tokens_out, streamed.stream) == (TOKENS_IN, TOKENS_OUT, True)
    assert streamed.fingerprint == whole.fingerprint, "the same question, streamed or not"
    assert (vector.endpoint, vector.tokens_in, vector.tokens_out) == ("/embeddings", TOKENS_IN, 0)


@pytest.mark.requirement("B-042", "B-043", "B-045")
async def test_anthropic(edge: EdgeSurface, anthropic_sdk: "anthropic.AsyncAnthropic") -> None:
    answer = await anthropic_sdk.messages.create(model="claude-sonnet-4", max_tokens=64, messages=ASKED)
    assert answer.content[0].text == TEXT
    async with anthropic_sdk.messages.stream(model="claude-sonnet-4", max_tokens=64, messages=ASKED) as stream:
        assert "".join([text async for text in stream.text_stream]) == TEXT
    for call in edge.stub.calls:
        assert any("sk-ant-of-the-caller" in value for _name, value in call.headers), "wherever this SDK puts it"
    whole, streamed = await edge.wait_for_calls(2)
    assert (whole.tokens_in, whole.tokens_out, whole.cached_tokens) == (6 + 4 + 1, TOKENS_OUT, 4)
    assert (streamed.tokens_in, streamed.tokens_out, streamed.usage) == (11, TOKENS_OUT, UsageFrom.REPORTED)


@pytest.mark.requirement("B-046", "B-072")
async def test_suspended_as_the_sdks_raise_it(
    edge: EdgeSurface, openai_sdk: "openai.AsyncOpenAI", anthropic_sdk: "anthropic.AsyncAnthropic"
) -> None:
    edge.suspend(layer="financial_limits", reason="day org: 100.02 of 100.00 USD")
    with pytest.raises(openai.RateLimitError, match="Budget Exceeded") as raised:
        await openai_sdk.chat.completions.create(model="gpt-4o", messages=ASKED)
    assert (raised.value.code, raised.value.type) == ("atlasburn_guardrail", "rate_limit_exceeded")
    with pytest.raises(anthropic.RateLimitError, match="Budget Exceeded") as raised_too:
        await anthropic_sdk.messages.create(model="claude-sonnet-4", max_tokens=64, messages=ASKED)
    assert raised_too.value.response.headers["x-atlasburn-blocked"] == "1"
    assert edge.stub.calls == [], "nothing was sent, and neither SDK tried again"


async def test_a_flag_on_one_model_stops_that_model_alone(edge: EdgeSurface, openai_sdk: "openai.AsyncOpenAI") -> None:
    edge.suspend(scope=Scope.MODEL, scope_id="gpt-4")
    with pytest.raises(openai.RateLimitError):
        await openai_sdk.chat.completions.create(model="gpt-4", messages=ASKED)
    await openai_sdk.chat.completions.create(model="gpt-4o", messages=ASKED)
    assert [call.json["model"] for call in edge.stub.calls] == ["gpt-4o"]


@pytest.mark.requirement("B-058")
@pytest.mark.parametrize(
    ("asked", "answers", "told", "priced"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", ("gpt-4o", "gpt-4o-2024-08-06"), "gpt-4o"),
        ("openrouter/auto", "openai/gpt-4o-mini", ("openrouter/auto", "openai/gpt-4o-mini"), "gpt-4o-mini"),
        ("gpt-4o", "of-nobodys-list", ("gpt-4o", "of-nobodys-list"), "gpt-4o"),
        ("gpt-4o", "gpt-4o", ("gpt-4o", ""), "gpt-4o"),
        ("gpt-4o", None, ("gpt-4o", ""), "gpt-4o"),
    ],
)
async def test_both_names_of_a_model(
    edge: EdgeSurface, asked: str, answers: str | None, told: tuple[str, str], priced: str
) -> None:
    """What was asked for and what answered; the price is the answering one's, where it is listed."""
    usage = {"prompt_tokens": 1_000, "completion_tokens": 10}
    answer = {"choices": [{"message": {"content": "hi"}}], "usage": usage} | ({"model": answers} if answers else {})
    edge.stub.behave = Behaviour(raw=[json.dumps(answer).encode()], content_type="application/json")
    async with edge.post("/openai/v1/chat/completions", {"model": asked, "messages": ASKED}) as got:
        assert got.status == 200
    [call] = await edge.wait_for_calls(1)
    assert (call.model, call.answered_model) == told
    assert call.cost_nano == cost_of(priced, 1_000, 10).nano
