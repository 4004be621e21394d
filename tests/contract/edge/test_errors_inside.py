"""An answer of status 200 that is an error: it costs nothing, and telemetry has the error's status."""

import json
from typing import Any

import pytest

from tests.support.edge_surface import EdgeSurface
from tests.support.provider_stub import Behaviour

PROMPT = "twelve chars" * 1_000
CHAT, MESSAGES = "/openai/v1/chat/completions", "/anthropic/v1/messages"
RESPONSES, GEMINI = "/openai/v1/responses", "/gemini/v1beta/models/g-2:generateContent"
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
LIMITED = {"error": {"message": "Rate limit reached", "type": "tokens", "code": "rate_limit_exceeded"}}
FAILED = {"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error"}, "usage": None}}
NO_WORD = {"choices": [{"delta": {"role": "assistant", "content": ""}}]}
CREATED = {"type": "response.created", "response": {"usage": None}}
OPENROUTERS = {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "Provider disconnected"}}]}
MINIMAX = {
    "choices": None,
    "usage": {"total_tokens": 0},
    "base_resp": {"status_code": 1002, "status_msg": "rate limit"},
}
AWAY = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


def frames(*some: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in some)


@pytest.mark.parametrize(
    ("path", "content_type", "answer", "status"),
    [
        (CHAT, "application/json", json.dumps(LIMITED).encode(), 429),
        (CHAT, "text/plain", json.dumps(LIMITED).encode(), 429),
        (CHAT, "text/event-stream", frames(LIMITED), 429),
        (CHAT, "text/event-stream", frames(NO_WORD, LIMITED), 429),
        (CHAT, "application/json", json.dumps(OPENROUTERS).encode(), 502),
        (CHAT, "text/event-stream", frames(NO_WORD, OPENROUTERS), 502),
        (CHAT, "application/json", json.dumps(MINIMAX).encode(), 429),
        (CHAT, "text/event-stream", b"event: error\ndata: Internal Server Error\n\n", 500),
        (MESSAGES, "application/json", json.dumps(OVERLOADED).encode(), 529),
        (MESSAGES, "text/event-stream", b"event: error\n" + frames(OVERLOADED), 529),
        (RESPONSES, "text/event-stream", frames(CREATED, FAILED), 500),
        (RESPONSES, "application/json", json.dumps(FAILED["response"]).encode(), 500),
        (GEMINI, "application/json", json.dumps(AWAY).encode(), 503),
        (GEMINI, "text/event-stream", frames(AWAY), 503),
        (GEMINI, "application/json", json.dumps([AWAY]).encode(), 503),
    ],
)  # fmt: skip
async def test_costs_nothing(edge: EdgeSurface, path: str, content_type: str, answer: bytes, status: int) -> None:
    """And passes as it is."""
    edge.stub.behave = Behaviour(raw=[answer], content_type=content_type)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}], "contents": PROMPT, "input": PROMPT}
    async with edge.post(path, body | {"max_tokens": 9}) as got:
        assert (got.status, await got.read()) == (200, answer)
    [call] = await edge.wait_for_calls(1)
    assert (call.status, call.tokens_in, call.tokens_out, call.cost_nano) == (status, 0, 0, 0)


async def test_what_was_written_before_it_costs(edge: EdgeSurface) -> None:
    words = {"choices": [{"delta": {"content": "Hello there."}}]}
    edge.stub.behave = Behaviour(raw=[frames(words), frames(LIMITED)])
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "twelve chars"}], "stream": True}
    async with edge.post(CHAT, asked) as got:
        await got.read()
    [call] = await edge.wait_for_calls(1)
    assert (call.status, call.tokens_in, call.tokens_out) == (429, 3, 3)


async def test_what_was_told_before_it_costs(edge: EdgeSurface) -> None:
    begun = {"type": "message_start", "message": {"usage": {"input_tokens": 11, "output_tokens": 1}}}
    edge.stub.behave = Behaviour(raw=[frames(begun), frames(OVERLOADED)])
    asked = {"model": "claude-sonnet-4", "messages": [], "stream": True, "max_tokens": 9}
    async with edge.post(MESSAGES, asked) as got:
        await got.read()
    [call] = await edge.wait_for_calls(1)
    assert (call.status, call.tokens_in) == (529, 11)
    assert call.cost_nano > 0
