"""What the proxy reads of requests: model, fingerprint, length, what the model may write."""

import json
from typing import Any

import pytest

from domain.guardrails.fingerprints import fingerprint
from ingest_gateway.surfaces.burn.edge.endpoints import Dialect
from ingest_gateway.surfaces.burn.edge.inspection import Inspected, estimate_tokens, inspect
from ingest_gateway.surfaces.burn.edge.providers import ProviderTarget, providers_of

CHAT = ProviderTarget("http://x/v1/chat/completions", "/chat/completions")
GEMINI = ProviderTarget("http://x", ":streamGenerateContent", "gemini-2.0-flash", True)
HI = [{"role": "user", "content": "hi"}]


def read(body: Any, target: ProviderTarget = CHAT, dialect: Dialect = Dialect.OPENAI) -> Inspected:
    return inspect(body if isinstance(body, bytes) else json.dumps(body).encode(), target, dialect)


@pytest.mark.requirement("B-034")
def test_the_fingerprint_is_the_question() -> None:
    """Not its white space, order of names, temperature or stream option; but its model, messages and tools."""
    asked = read({"model": "m", "messages": HI})
    for same in (
        b'{ "messages":[{"content":"h\\u0069","role":"user"}],\n"model":"m" }',
        {"model": "m", "messages": HI, "temperature": 0.5, "stream": True, "user": "u", "seed": 4},
    ):
        assert read(same).fingerprint == asked.fingerprint
    for other in (
        {"model": "n", "messages": HI},
        {"model": "m", "messages": [*HI, *HI]},
        {"model": "m", "messages": HI, "tools": [{"type": "function"}]},
    ):
        assert read(other).fingerprint != asked.fingerprint
    assert asked.fingerprint == fingerprint({"model": b'"m"', "messages": json.dumps(HI).encode()})


@pytest.mark.requirement("B-034")
def test_a_model_in_the_path_counts() -> None:
    contents = {"contents": [{"parts": [{"text": "hi"}]}]}
    flash = read(contents, GEMINI, Dialect.GEMINI)
    pro = read(contents, GEMINI._replace(model="gemini-2.5-pro"), Dialect.GEMINI)
    assert flash.model == "gemini-2.0-flash" and flash.streams
    assert flash.fingerprint != pro.fingerprint


@pytest.mark.requirement("B-073")
@pytest.mark.parametrize(
    ("body", "characters"),
    [
        ({"messages": HI}, 2),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "four"}]}]}, 4),
        ({"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]}, 0),
        ({"system": "abc", "messages": HI}, 5),
        ({"input": ["abc", "de"]}, 5),
        ({"contents": [{"parts": [{"text": "ab"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}]}, 2),
        ({"prompt": "héé"}, 3),
        ({"content": {"parts": [{"text": "ab"}]}}, 2),
        ({"requests": [{"content": {"parts": [{"text": "ab"}]}}]}, 2),
        ({"messages": HI, "max_tokens": "12", "n": 2e0}, 2),
        ({}, 0),
    ],
)
def test_the_length_of_a_prompt(body: Any, characters: int) -> None:
    assert read(body).prompt_characters == characters


@pytest.mark.requirement("B-073")
@pytest.mark.parametrize(("characters", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_a_token_is_four_characters(characters: int, tokens: int) -> None:
    assert estimate_tokens(characters) == tokens


@pytest.mark.requirement("B-041")
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_what_cant_be_read_goes_on(body: bytes) -> None:
    seen = read(body)
    assert seen.body == body and not seen.understood
    assert seen.fingerprint.startswith("sha256:")
    assert read(body).fingerprint == seen.fingerprint


@pytest.mark.requirement("B-059")
def test_asking_for_usage_adds_one_member_and_changes_no_byte() -> None:
    body = b'{ "model":"m" ,"stream":true,"seed":1.50, "messages":[{"role":"user","content":"\\u00e9}"}] }\n'
    sent = read(body).body
    assert sent == body.replace(b"}] }", b'}] ,"stream_options":{"include_usage":true}}')
    assert json.loads(sent)["stream_options"] == {"include_usage": True}
    responses = ProviderTarget("http://x", "/responses")
    assert read(body, responses).body == body, "responses tell their usage anyway"


@pytest.mark.requirement("B-043")
@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/v1beta/models/gemini-2.0-flash:generateContent", "https://generativelanguage.googleapis.com{}"),
        ("/v1/models/gemini-2.0-flash:streamGenerateContent", "https://generativelanguage.googleapis.com{}"),
        (
            "/v1/projects/p-1/locations/europe-west4/publishers/google/models/g:generateContent",
            "https://europe-west4-aiplatform.googleapis.com{}",
        ),
        (
            "/v1/projects/p-1/locations/global/publishers/google/models/g:generateContent",
            "https://aiplatform.googleapis.com{}",
        ),
        ("/v1/projects/p-1/locations/evil.example#a1/publishers/google/models/g:generateContent", None),
        ("/v1beta/models/a/../b:generateContent", None),
    ],
)
def test_gemini_and_vertex(path: str, url: str | None) -> None:
    target = providers_of({})["gemini"].targets(path).get("POST")
    assert (None if target is None else target.url) == (None if url is None else url.format(path))


@pytest.mark.requirement("B-041")
@pytest.mark.parametrize(
    ("body", "model", "streams"),
    [
        (b'{"model": "m", "stream": 1, "messages": []}', "m", True),
        (b'{"model": "m", "stream": "true", "messages": []}', "m", True),
        (b'{"model": 7, "stream": true, "messages": []}', "", True),
        (b'{"model": "m", "messages": [{"content": "cut \\ud83d"}], "stream": true}', "m", True),
        (b'{"model": "m", "messages": [{"content": "Jos\xe9"}]}', "m", False),
        (b'\xef\xbb\xbf{"model": "m", "messages": []}', "m", False),
        (b'{"model": "m", "messages": [{"content": "x", "n": 1e400}]}', "m", False),
    ],
)
def test_each_member_is_read_for_itself(body: bytes, model: str, streams: bool) -> None:
    """A flag on a model, or the stream's form, must not depend on what else is in the body."""
    seen = read(body)
    assert (seen.model, seen.streams, seen.as_sent or seen.body) == (model, streams, body)
