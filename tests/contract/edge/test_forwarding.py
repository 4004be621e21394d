"""What is forwarded where, what goes on of heads, and how the proxy's own answers look beside a provider's."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from yarl import URL

from tests.support.edge_surface import TOKEN, EdgeSurface
from tests.support.provider_stub import Behaviour
from tests.support.until import until

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
VERTEX = "/gemini/v1/projects/p-1/locations/moon/publishers/google/models/m:generateContent"


@pytest.mark.requirement("B-043", "B-044")
@pytest.mark.parametrize(
    ("path", "goes_to", "body"),
    [
        ("/openai/v1/chat/completions", "/v1/chat/completions", CHAT),
        ("/openai/v1/completions", "/v1/completions", {"model": "m", "prompt": "hi"}),
        ("/openai/v1/embeddings", "/v1/embeddings", {"model": "m", "input": "hi"}),
        ("/openai/v1/responses", "/v1/responses", {"model": "m", "input": "hi"}),
        ("/anthropic/v1/messages", "/v1/messages", {"max_tokens": 9, **CHAT}),
        ("/gemini/v1beta/models/g-2:generateContent", "/v1beta/models/g-2:generateContent", CONTENTS),
        ("/gemini/v1beta/models/g-2:streamGenerateContent", "/v1beta/models/g-2:streamGenerateContent", CONTENTS),
        ("/openrouter/v1/chat/completions", "/api/v1/chat/completions", CHAT),
        ("/openrouter/api/v1/chat/completions", "/api/v1/chat/completions", CHAT),
        ("/groq/v1/chat/completions", "/openai/v1/chat/completions", CHAT),
        ("/groq/openai/v1/chat/completions", "/openai/v1/chat/completions", CHAT),  # as Groq's own SDK writes it
    ],
)
async def test_forwarded(edge: EdgeSurface, path: str, goes_to: str, body: Any) -> None:
    async with edge.post(path, body) as answer:
        assert answer.status == 200
        await answer.read()
    assert [call.path for call in edge.stub.calls] == [goes_to]
    [call] = await edge.wait_for_calls(1)
    assert call.provider == path.split("/")[1]
    assert call.model == ("g-2" if call.provider == "gemini" else body["model"])


@pytest.mark.requirement("B-044", "L3")
@pytest.mark.parametrize(
    "path",
    [
        "/openai/v1/fine_tuning/jobs",
        "/openai/v1/files/file-1/../../organization",
        "/openai/v1/responses/..",
        "/openai/v1/models//gpt-4o",
        "/openai/v1/models/https:%2F%2Fattacker.example",
        "/openai/v1/models/@attacker.example/x/y",
        "/openai/v1/organization/admin_api_keys",
        "/openai/v1/chat/completions/",
        "/openai/v2/chat/completions",
        "/anthropic/v1/organizations/me",
        "/gemini/v1beta/corpora/c:query",
        "/gemini/v1beta/models/g-2%2Fx:generateContent",
        "/openai/v1/../admin",
        "/openai/v1/%2e%2e/chat/completions",
        VERTEX,
        "/nobody/v1/chat/completions",
    ],
)
async def test_not_forwarded(edge: EdgeSurface, path: str) -> None:
    async with edge.client.post(
        URL(edge.url + path, encoded=True), json=CHAT, headers={"AtlasBurn-API-Key": TOKEN}
    ) as answer:
        assert answer.status == 404
        assert "error" in await answer.json()
    assert edge.stub.calls == []


@pytest.mark.requirement("L3")
async def test_no_request_chooses_a_host(edge: EdgeSurface) -> None:
    """A Host header changes nothing; a target that names another host is refused."""
    async with edge.post("/openai/v1/chat/completions", CHAT, Host="attacker.example") as answer:
        assert answer.status == 200
    assert edge.stub.calls[0].header("Host") in edge.stub.url
    host, port = edge.url.removeprefix("http://").split(":")
    for line in ("POST http://attacker.example/openai/v1/chat/completions", "CONNECT attacker.example:443"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{line} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 0\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 4")
        writer.close()
        await writer.wait_closed()
    assert len(edge.stub.calls) == 1


@pytest.mark.requirement("B-045", "L4")
async def test_heads_go_on_without_what_is_not_the_providers(edge: EdgeSurface) -> None:
    sent = {
        "Authorization": "Bearer sk-of-the-caller",
        "OpenAI-Organization": "org-1",
        "Connection": "keep-alive, x-secret",
        "X-Secret": "for this hop",
        "Keep-Alive": "timeout=5",
        "TE": "trailers",
        "Proxy-Authorization": "Basic eA==",
        "X-Forwarded-For": "203.0.113.9",
        "Cookie": "session=1",
        "Accept-Encoding": "gzip, br",
        "AtlasBurn-Session-Id": "session-1",
    }
    async with edge.post("/openai/v1/chat/completions", CHAT, **sent) as answer:
        assert answer.status == 200
    [call] = edge.stub.calls
    assert call.header("Authorization") == "Bearer sk-of-the-caller"
    assert call.header("OpenAI-Organization") == "org-1"
    assert call.header("Accept-Encoding") == "identity", "usage is read from what passes"
    gone = {"x-secret", "keep-alive", "te", "proxy-authorization", "x-forwarded-for", "cookie", "connection"}
    assert not call.names & (gone | {"atlasburn-api-key", "atlasburn-session-id"})
    [told] = await edge.wait_for_calls(1)
    assert told.session_id == "session-1"


@pytest.mark.requirement("B-045", "B-056", "L4")
async def test_no_secret_is_logged_or_kept(edge: EdgeSurface, caplog: pytest.LogCaptureFixture) -> None:
    """Of the caller's keys nothing stands on the log, in the spool or in a log line, nor does a word of the prompt."""
    secrets = ["sk-of-the-caller", "AIza-of-the-caller", TOKEN, "a most private prompt"]
    prompt = {"model": "gpt-4o", "messages": [{"role": "user", "content": secrets[3]}]}
    edge.log.unreachable = "the broker is away"
    with caplog.at_level(logging.DEBUG):
        async with edge.post("/openai/v1/chat/completions", prompt, Authorization=f"Bearer {secrets[0]}") as answer:
            assert answer.status == 200
        contents = {"contents": [{"parts": [{"text": secrets[3]}]}]}
        async with edge.post(f"/gemini/v1beta/models/g-2:generateContent?key={secrets[1]}", contents) as answer:
            assert answer.status == 200
        assert edge.stub.calls[1].query == f"key={secrets[1]}"
        await until(lambda: b"g-2" in spooled(edge))
    kept = caplog.text.encode() + spooled(edge)
    edge.log.unreachable = None
    await edge.wait_for_calls(2)
    kept += b"".join(record.encode() for record in edge.log.records)
    assert b"gpt-4o" in kept
    assert [secret for secret in secrets if secret.encode() in kept] == []


@pytest.mark.requirement("L6", "B-071")
async def test_a_providers_429_is_not_ours(edge: EdgeSurface) -> None:
    error = {"error": {"message": "Rate limit reached", "type": "tokens", "code": "rate_limit_exceeded"}}
    headers = {"Retry-After": "7", "x-ratelimit-remaining-tokens": "0", "x-atlasburn-blocked": "1"}
    edge.stub.behave = Behaviour(status=429, error=error, headers=headers)
    async with edge.post("/openai/v1/chat/completions", CHAT) as answer:
        assert (answer.status, await answer.json()) == (429, error), "as it is"
        assert answer.headers["Retry-After"] == "7"
        assert "x-atlasburn-blocked" not in answer.headers, "nobody but the proxy says so"
    [call] = await edge.wait_for_calls(1)
    assert (call.status, call.tokens_in, call.tokens_out, call.cost_nano) == (429, 0, 0, 0)


@pytest.mark.requirement("B-071", "B-072")
@pytest.mark.parametrize(
    ("path", "error"),
    [
        (
            "/openai/v1/chat/completions",
            {"type": "rate_limit_exceeded", "code": "atlasburn_guardrail", "param": None},
        ),
        ("/openrouter/v1/chat/completions", {"type": "rate_limit_exceeded", "code": "atlasburn_guardrail"}),
        ("/anthropic/v1/messages", {"type": "rate_limit_error"}),
        ("/gemini/v1beta/models/g-2:generateContent", {"code": 429, "status": "RESOURCE_EXHAUSTED"}),
    ],
)
async def test_suspended_in_each_providers_shape(edge: EdgeSurface, path: str, error: Any) -> None:
    edge.suspend(seconds=30)
    async with edge.post(path, CHAT) as answer:
        assert answer.status == 429
        body = await answer.json()
        assert answer.headers["x-atlasburn-blocked"] == "1"
        assert answer.headers["x-atlasburn-reason"] == "dumb_loop_detector"
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
    assert {name: body["error"].get(name) for name in error} == error
    told = body["_atlasburn"]
    assert (told["blocked"], told["layer"]) == (True, "dumb_loop_detector")
    assert told["reason"] == "fingerprint sha256:b9c1 seen 4 times in 60s"
    assert "dumb_loop_detector" in body["error"]["message"]
    assert body.get("type") == ("error" if "anthropic" in path else None)
    assert edge.stub.calls == []


async def test_a_layer_that_fits_no_header(edge: EdgeSurface) -> None:
    edge.suspend(layer="by hand\r\nX-Evil: 1")
    async with edge.post("/openai/v1/chat/completions", CHAT) as answer:
        assert (answer.status, answer.headers["x-atlasburn-reason"]) == (429, "guardrail")
        assert "X-Evil" not in answer.headers


@pytest.mark.requirement("B-045", "B-046")
@pytest.mark.parametrize("key", [None, "abn_aaaaaaaaaaaaaaaaaaaa", "sk-not-one-of-ours"])
async def test_without_a_good_key_there_is_no_call(edge: EdgeSurface, key: str | None) -> None:
    headers = {} if key is None else {"AtlasBurn-API-Key": key}
    async with edge.client.post(edge.url + "/anthropic/v1/messages", json=CHAT, headers=headers) as answer:
        body = await answer.json()
        assert (answer.status, body["type"], body["error"]["type"]) == (401, "error", "authentication_error")
        assert body["_atlasburn"]["blocked"] is False, "unauthenticated is no guardrail's work"
        assert "in the header AtlasBurn-API-Key" in body["error"]["message"]
    assert edge.stub.calls == []


async def test_a_suspension_that_ended_stops_nothing(edge: EdgeSurface) -> None:
    edge.suspend(seconds=-1)
    async with edge.post("/openai/v1/chat/completions", CHAT) as answer:
        assert answer.status == 200


async def test_redirects_are_the_callers_affair(edge: EdgeSurface) -> None:
    edge.stub.behave = Behaviour(status=307, error={}, headers={"Location": "http://attacker.example/"})
    async with edge.client.post(
        edge.url + "/openai/v1/chat/completions",
        json=CHAT,
        headers={"AtlasBurn-API-Key": TOKEN},
        allow_redirects=False,
    ) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, "http://attacker.example/")
    assert len(edge.stub.calls) == 1


async def test_what_is_no_json_goes_on_as_it_came(edge: EdgeSurface) -> None:
    """Law 4: what the proxy can't read it doesn't stop. A body in a coding, too."""
    edge.stub.behave = Behaviour(status=400, error={"error": {"message": "We could not parse the JSON body."}})
    for body, coding in ((b"{not json", "identity"), (b"\x1f\x8b\x08 as it is", "gzip")):
        async with edge.client.post(
            edge.url + "/openai/v1/chat/completions",
            data=body,
            headers={"AtlasBurn-API-Key": TOKEN, "Content-Encoding": coding, "Content-Type": "application/json"},
        ) as answer:
            assert answer.status == 400
        assert edge.stub.calls[-1].body == body


async def test_a_body_beyond_what_is_inspected_goes_on_whole(edge: EdgeSurface) -> None:
    """5 MiB: an image in a message. It is fingerprinted by its first bytes, and counted by the answer's usage."""
    image = "data:image/png;base64," + "A" * (5 * 1024 * 1024)
    content = [{"type": "image_url", "image_url": {"url": image}}]
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": content}]}
    for sent in (io.BytesIO(json.dumps(body).encode()), _in_chunks(json.dumps(body).encode())):
        async with edge.client.post(
            edge.url + "/openai/v1/chat/completions", data=sent, headers={"AtlasBurn-API-Key": TOKEN}
        ) as answer:
            assert answer.status == 200
        assert json.loads(edge.stub.calls[-1].body) == body
    for call in await edge.wait_for_calls(2):
        assert (call.model, call.tokens_in) == ("gpt-4o", 11), "the model is the answer's"


@pytest.mark.parametrize("characters", [100_000, 300_000, 1_500_000])
async def test_a_long_prompt_goes_on_byte_for_byte(edge: EdgeSurface, characters: int) -> None:
    """Here, in a thread, and in pieces: as long as it is inspected."""
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "é" * characters}]}).encode()
    async with edge.client.post(
        edge.url + "/openai/v1/chat/completions", data=io.BytesIO(body), headers={"AtlasBurn-API-Key": TOKEN}
    ) as answer:
        assert answer.status == 200
    assert edge.stub.calls[0].body == body
    assert int(edge.stub.calls[0].header("Content-Length")) == len(body)


async def _in_chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


def spooled(edge: EdgeSurface) -> bytes:
    return b"".join(path.read_bytes() for path in edge.home.glob("edge-spool/*/*.seg"))
