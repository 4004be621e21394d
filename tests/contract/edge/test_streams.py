"""Streams pass as they are, whatever is in them; what is read of them on the way; what happens when somebody leaves."""

import asyncio
from typing import Any

import aiohttp
import pytest

from schemas.telemetry import UsageFrom
from tests.support.edge_surface import EdgeSurface
from tests.support.provider_stub import Behaviour

STREAM = {"model": "gpt-4o", "messages": [{"role": "user", "content": "twelve chars"}], "stream": True}
PATH = "/openai/v1/chat/completions"


def frame(word: str) -> bytes:
    return b'data: {"choices":[{"delta":{"content":"' + word.encode() + b'"}}],"model":"gpt-4o"}\n\n'


@pytest.mark.requirement("B-042", "B-055", "L5")
@pytest.mark.parametrize(
    ("pieces", "tokens_out"),
    [
        # "héllo wörld" has 11 characters: 3 tokens
        ([frame("héllo wörld"), b"data: [DONE]\n\n"], 3),
        ([bytes([byte]) for byte in frame("héllo wörld")], 3),  # cut everywhere, within é and ö as well
        ([b": comment\n\n", frame("abcd").replace(b"\n", b"\r\n"), b"event: x\ndata: not json\n\n"], 1),
        ([frame("abcd").rstrip(b"\n")], 1),  # no line end at the end
        ([b"data: {}\n\n" * 50], 0),
        ([], 0),
    ],
)
async def test_a_stream_without_usage(edge: EdgeSurface, pieces: list[bytes], tokens_out: int) -> None:
    edge.stub.behave = Behaviour(raw=pieces)
    async with edge.post(PATH, STREAM) as answer:
        assert await answer.read() == b"".join(pieces), "byte for byte"
        assert answer.headers["Content-Type"] == "text/event-stream"
    [call] = await edge.wait_for_calls(1)
    assert call.usage == UsageFrom.ESTIMATED
    assert (call.tokens_in, call.tokens_out) == (3, tokens_out)  # ceil(12 / 4)


@pytest.mark.requirement("L5")
async def test_a_frame_of_ten_megabytes_passes_unread(edge: EdgeSurface) -> None:
    long = frame("x" * 10 * 1024 * 1024)
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}\n\n'
    edge.stub.behave = Behaviour(raw=[long, usage])
    async with edge.post(PATH, STREAM) as answer:
        assert await answer.read() == long, "usage that nobody but the proxy asked for is taken out again"
    [call] = await edge.wait_for_calls(1)
    assert (call.tokens_in, call.tokens_out, call.usage) == (5, 9, UsageFrom.REPORTED), "what comes behind it counts"


@pytest.mark.requirement("B-059")
@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {"include_obfuscation": False}}, {"include_usage": True, "include_obfuscation": False}),
        ({"stream_options": {"include_usage": False}}, {"include_usage": False}),
        ({"stream_options": {"include_usage": True}}, {"include_usage": True}),
    ],
)
async def test_usage_is_asked_for(edge: EdgeSurface, more: dict[str, Any], sent: Any) -> None:
    """And the chunk that tells it goes to those alone that asked."""
    async with edge.post(PATH, STREAM | more) as answer:
        body = await answer.read()
    [call] = edge.stub.calls
    assert call.json["stream_options"] == sent
    assert {name: call.json[name] for name in STREAM} == STREAM
    [told] = await edge.wait_for_calls(1)
    assert told.usage == (UsageFrom.REPORTED if sent["include_usage"] else UsageFrom.ESTIMATED)
    assert (b'"usage": {' in body) is (more.get("stream_options") == {"include_usage": True})
    assert body.endswith(b"data: [DONE]\n\n")


async def test_what_comes_first_is_not_held_back(edge: EdgeSurface) -> None:
    edge.stub.behave = Behaviour(stall_after=1)
    async with edge.post(PATH, STREAM) as answer:
        assert b"Hello" in await answer.content.readany()
        assert not edge.stub.go_on.is_set()
        edge.stub.go_on.set()
        assert b"stub" in await answer.read()


@pytest.mark.requirement("F55")
async def test_a_client_that_leaves_ends_the_providers_call(edge: EdgeSurface) -> None:
    """Within a second; what was written by then is told once, as estimated."""
    edge.stub.behave = Behaviour(stall_after=2)
    answer = await edge.post(PATH, STREAM)
    while b"from" not in await answer.content.readany():
        pass
    answer.close()
    async with asyncio.timeout(1):
        await edge.stub.abandoned.wait()
    [call] = await edge.wait_for_calls(1)
    # "Hello" and " from": 10 characters, 3 tokens
    assert (call.tokens_in, call.tokens_out, call.usage) == (3, 3, UsageFrom.ESTIMATED)
    await _one_more(edge)
    assert len(await edge.wait_for_calls(2)) == 2, "recorded once"


@pytest.mark.requirement("F55")
async def test_a_client_that_leaves_before_there_is_an_answer(edge: EdgeSurface) -> None:
    edge.stub.behave = Behaviour(wait_seconds=60)
    with pytest.raises(TimeoutError):
        async with edge.client.post(
            edge.url + PATH,
            json=STREAM,
            headers=edge.headers,
            timeout=aiohttp.ClientTimeout(total=0.3),
        ):
            pass
    async with asyncio.timeout(1):
        await edge.stub.abandoned.wait()
    [call] = await edge.wait_for_calls(1)
    assert (call.status, call.tokens_in, call.tokens_out, call.usage) == (499, 3, 0, UsageFrom.ESTIMATED)


async def test_a_provider_that_breaks_off_is_not_completed(edge: EdgeSurface) -> None:
    edge.stub.behave = Behaviour(cut_after=2)
    with pytest.raises(aiohttp.ClientPayloadError):
        async with edge.post(PATH, STREAM) as answer:
            assert answer.status == 200
            await answer.read()
    [call] = await edge.wait_for_calls(1)
    assert (call.status, call.usage) == (200, UsageFrom.ESTIMATED)


@pytest.mark.parametrize(
    ("path", "kind"), [(PATH, ("type", "server_error")), ("/anthropic/v1/messages", ("type", "timeout_error"))]
)
async def test_a_provider_that_says_nothing(hurried: EdgeSurface, path: str, kind: tuple[str, str]) -> None:
    hurried.stub.behave = Behaviour(wait_seconds=60)
    async with hurried.post(path, STREAM) as answer:
        body = await answer.json()
        assert answer.status == 504
    assert body["error"][kind[0]] == kind[1]
    assert body["_atlasburn"]["reason"] == "upstream_timeout"
    [call] = await hurried.wait_for_calls(1)
    assert (call.status, call.usage) == (504, UsageFrom.ESTIMATED), "it may have been made all the same"


async def test_a_provider_that_stops_within_a_stream(hurried: EdgeSurface) -> None:
    hurried.stub.behave = Behaviour(stall_after=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        async with hurried.post(PATH, STREAM) as answer:
            await answer.read()


async def test_a_provider_that_is_away(edge: EdgeSurface) -> None:
    await edge.stub.stop()
    async with edge.post(PATH, STREAM) as answer:
        body = await answer.json()
        assert (answer.status, body["_atlasburn"]["reason"]) == (502, "upstream_unreachable")
    [call] = await edge.wait_for_calls(1)
    assert (call.status, call.tokens_in, call.cost_nano) == (502, 0, 0)


async def _one_more(edge: EdgeSurface) -> None:
    edge.stub.behave = Behaviour()
    async with edge.post(PATH, STREAM) as answer:
        await answer.read()
