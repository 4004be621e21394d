"""What the proxy asks for in its caller's stead stays with it; where a provider refuses it, it is left out."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas.telemetry import UsageFrom
from tests.support.edge_surface import TOKEN, EdgeSurface, edge_surface
from tests.support.provider_sdks import WITH_SDKS, openai
from tests.support.provider_stub import TOKENS_IN, TOKENS_OUT, WORDS, Behaviour, ProviderRequest

ASKED: list[Any] = [{"role": "user", "content": "Say hello, please."}]
PATH = "/openai/v1/chat/completions"
STREAM = {"model": "gpt-4o", "messages": ASKED, "stream": True}
REFUSAL = {"error": {"message": "Unrecognized request argument supplied: stream_options", "type": "invalid_request"}}


def as_users_write_it(stream: "openai.Stream[Any]") -> str:
    """OpenAI's README: no look at whether there are choices."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


@WITH_SDKS
@pytest.mark.requirement("B-042", "B-059")
@pytest.mark.parametrize("sync", [True, False])
async def test_the_usual_loop_over_the_sdks_stream(edge: EdgeSurface, sync: bool) -> None:
    given: dict[str, Any] = {
        **{"api_key": "sk", "base_url": f"{edge.url}/openai/v1"},
        "default_headers": {"AtlasBurn-API-Key": TOKEN},
    }
    if sync:

        def ask() -> str:
            with openai.OpenAI(**given) as sdk:
                return as_users_write_it(sdk.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True))

        text = await asyncio.to_thread(ask)
    else:
        async with openai.AsyncOpenAI(**given) as sdk:
            stream = await sdk.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "".join(WORDS)
    [call] = await edge.wait_for_calls(1)
    assert (call.tokens_in, call.tokens_out, call.usage) == (TOKENS_IN, TOKENS_OUT, UsageFrom.REPORTED)


@WITH_SDKS
async def test_a_caller_that_asked_gets_the_chunk(edge: EdgeSurface) -> None:
    async with openai.AsyncOpenAI(
        api_key="sk", base_url=f"{edge.url}/openai/v1", default_headers={"AtlasBurn-API-Key": TOKEN}
    ) as sdk:
        stream = await sdk.chat.completions.create(
            model="gpt-4o", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == [] and chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == TOKENS_OUT


@contextmanager
def refusing(edge: EdgeSurface, refuses: Callable[[ProviderRequest], bool], status: int = 422) -> Iterator[None]:
    """The stub refuses some calls, and answers the others as ever."""
    good = Behaviour()

    def behave(call: ProviderRequest) -> Behaviour:
        return Behaviour(status=status, error=REFUSAL) if refuses(call) else good

    edge.stub.behave_by = behave
    yield
    edge.stub.behave_by = None


@pytest.mark.parametrize("status", [400, 422])
async def test_a_provider_that_refuses_to_be_asked(edge: EdgeSurface, status: int) -> None:
    """It is asked again without, at once; by then it is known, for this model, and not asked a third time."""
    with refusing(edge, lambda call: "stream_options" in call.json, status):
        for _ in range(2):
            async with edge.post(PATH, STREAM) as answer:
                assert answer.status == 200
                assert b"stub" in await answer.read()
    assert ["stream_options" in call.json for call in edge.stub.calls] == [True, False, False]
    assert edge.stub.calls[1].body == edge.stub.calls[2].body == json.dumps(STREAM).encode()
    calls = await edge.wait_for_calls(2)
    assert [(call.status, call.usage) for call in calls] == [(200, UsageFrom.ESTIMATED)] * 2


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream"])
async def test_a_stream_whose_type_says_nothing(edge: EdgeSurface, content_type: str) -> None:
    word = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}\n\n'
    usage = b'data: {"choices":null,"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16}}\n\n'
    done = b"data: [DONE]\n\n"
    edge.stub.behave = Behaviour(raw=[word, usage, done], content_type=content_type)
    async with edge.post(PATH, STREAM) as answer:
        assert await answer.read() == word + done
    [call] = await edge.wait_for_calls(1)
    assert (call.tokens_in, call.tokens_out, call.usage) == (7, 9, UsageFrom.REPORTED)


async def test_a_caller_that_only_names_the_member_costs_others_nothing(edge: EdgeSurface) -> None:
    """Its own fault is refused with the member's name in it, with and without the member: that is no refusal of it."""
    error = {"error": {"message": "Invalid value: 'stream_options'. Supported values are: 'text'."}}
    edge.stub.behave_by = lambda call: Behaviour(status=400, error=error) if "format" in call.json else Behaviour()
    async with edge.post(PATH, STREAM | {"format": "stream_options"}) as answer:
        assert (answer.status, await answer.json()) == (400, error)
    async with edge.post(PATH, STREAM) as answer:
        assert answer.status == 200
        await answer.read()
    edge.stub.behave_by = None
    assert "stream_options" in edge.stub.calls[-1].json
    calls = await edge.wait_for_calls(2)
    assert calls[-1].usage == UsageFrom.REPORTED


async def test_another_refusal_is_the_callers(edge: EdgeSurface) -> None:
    error = {"error": {"message": "max_tokens is too large"}}
    edge.stub.behave = Behaviour(status=400, error=error)
    async with edge.post(PATH, STREAM) as answer:
        assert (answer.status, await answer.json()) == (400, error)
    assert len(edge.stub.calls) == 1


async def test_who_asked_gets_the_refusal(edge: EdgeSurface) -> None:
    with refusing(edge, lambda call: True):
        async with edge.post(PATH, STREAM | {"stream_options": {"include_usage": True}}) as answer:
            assert (answer.status, await answer.json()) == (422, REFUSAL)
    assert len(edge.stub.calls) == 1


@pytest.fixture
async def not_asking(tmp_path: Path) -> AsyncIterator[EdgeSurface]:
    async with edge_surface(tmp_path, ATLAS_EDGE_ASK_USAGE="off") as running:
        yield running


async def test_a_setting_turns_it_off(not_asking: EdgeSurface) -> None:
    async with not_asking.post(PATH, STREAM) as answer:
        await answer.read()
    assert not_asking.stub.calls[0].body == json.dumps(STREAM).encode()
    [call] = await not_asking.wait_for_calls(1)
    assert (call.usage, call.tokens_out) == (UsageFrom.ESTIMATED, 5)  # 20 characters
