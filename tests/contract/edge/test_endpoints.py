"""What agents ask beside calls of models: what costs nothing goes on uncounted, what can't be read needs a setting."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ingest_gateway.surfaces.burn.edge.endpoints import ENDPOINTS, Dialect, Kind
from tests.support.edge_surface import TOKEN, EdgeSurface, edge_surface
from tests.support.provider_sdks import WITH_SDKS, anthropic, openai
from tests.support.provider_stub import Behaviour

HEADER = {"AtlasBurn-API-Key": TOKEN}
ASKED: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.mark.requirement("B-044")
@pytest.mark.parametrize(
    ("method", "path", "goes_to"),
    [
        ("GET", "/openai/v1/models", "/v1/models"),
        ("GET", "/openai/v1/models/ft:gpt-4o:acme::abc", "/v1/models/ft:gpt-4o:acme::abc"),
        ("POST", "/openai/v1/moderations", "/v1/moderations"),
        ("GET", "/openai/v1/responses/resp_1", "/v1/responses/resp_1"),
        ("DELETE", "/openai/v1/responses/resp_1", "/v1/responses/resp_1"),
        ("POST", "/openai/v1/responses/resp_1/cancel", "/v1/responses/resp_1/cancel"),
        ("GET", "/openai/v1/responses/resp_1/input_items", "/v1/responses/resp_1/input_items"),
        ("POST", "/openai/v1/responses/input_tokens", "/v1/responses/input_tokens"),
        ("POST", "/openai/v1/files", "/v1/files"),
        ("GET", "/openai/v1/files/file-1/content", "/v1/files/file-1/content"),
        ("GET", "/openai/v1/batches/batch_1", "/v1/batches/batch_1"),
        ("POST", "/openai/v1/batches/batch_1/cancel", "/v1/batches/batch_1/cancel"),
        ("POST", "/anthropic/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("GET", "/anthropic/v1/models", "/v1/models"),
        ("GET", "/anthropic/v1/messages/batches/msgbatch_1/results", "/v1/messages/batches/msgbatch_1/results"),
        ("POST", "/gemini/v1beta/models/g-2:countTokens", "/v1beta/models/g-2:countTokens"),
        ("GET", "/gemini/v1beta/models", "/v1beta/models"),
        ("DELETE", "/gemini/v1beta/cachedContents/c-1", "/v1beta/cachedContents/c-1"),
        ("GET", "/openrouter/api/v1/models/meta-llama/llama-3:free/endpoints",
         "/api/v1/models/meta-llama/llama-3:free/endpoints"),
        ("GET", "/groq/v1/models", "/openai/v1/models"),
    ],
)  # fmt: skip
async def test_what_costs_nothing(edge: EdgeSurface, method: str, path: str, goes_to: str) -> None:
    """As it is, with its query, counted as no call, and under a kill flag too: stopping a response saves money."""
    edge.suspend()
    edge.stub.behave = Behaviour(raw=[b'{"of": "the stub"}'], content_type="application/json")
    body = b'{"any": "thing"}' if method == "POST" else None
    async with edge.client.request(method, f"{edge.url}{path}?limit=2", data=body, headers=HEADER) as answer:
        assert (answer.status, await answer.read()) == (200, b'{"of": "the stub"}')
    [call] = edge.stub.calls
    assert (call.method, call.path, call.query, call.body) == (method, goes_to, "limit=2", body or b"")
    assert "content-length" in call.names or method != "POST"
    await asyncio.sleep(0.02)
    assert edge.log.records == []


async def test_a_key_is_needed_all_the_same(edge: EdgeSurface) -> None:
    async with edge.client.get(edge.url + "/openai/v1/models") as answer:
        assert answer.status == 401
    assert edge.stub.calls == []


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("PUT", "/openai/v1/models", "GET"), ("GET", "/anthropic/v1/messages", "POST"),
     ("POST", "/openai/v1/responses/resp_1", "DELETE, GET"), ("PATCH", "/openai/v1/files", "GET, POST")],
)  # fmt: skip
async def test_other_methods(edge: EdgeSurface, method: str, path: str, allow: str) -> None:
    async with edge.client.request(method, edge.url + path, headers=HEADER) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, allow)
    assert edge.stub.calls == []


UNREADABLE = [
    *("/openai/v1/batches", "/openai/v1/images/generations", "/openai/v1/images/edits", "/openai/v1/audio/speech"),
    *("/openai/v1/audio/transcriptions", "/anthropic/v1/messages/batches"),
    *("/gemini/v1beta/models/g-2:batchGenerateContent", "/gemini/v1beta/cachedContents"),
]


@pytest.mark.parametrize("path", UNREADABLE)
async def test_what_cant_be_read_names_the_setting(edge: EdgeSurface, path: str) -> None:
    async with edge.post(path, {"model": "m"}) as answer:
        told = await answer.json()
        assert (answer.status, told["_atlasburn"]["reason"]) == (403, "cost_unreadable")
    assert "ATLAS_EDGE_FORWARD_UNREADABLE=on" in told["error"]["message"]
    assert edge.stub.calls == []


@pytest.fixture
async def forwarding(tmp_path: Path) -> AsyncIterator[EdgeSurface]:
    async with edge_surface(tmp_path, ATLAS_EDGE_FORWARD_UNREADABLE="on") as running:
        yield running


async def test_with_the_setting_it_is_counted_as_far_as_it_can_be(forwarding: EdgeSurface) -> None:
    """An image tells its tokens; a batch tells nothing, but is a call that a loop is made of."""
    image = b'{"created": 1, "data": [{"b64_json": "AAAA"}], "usage": {"input_tokens": 9, "output_tokens": 272}}'
    forwarding.stub.behave = Behaviour(raw=[image], content_type="application/json")
    async with forwarding.post("/openai/v1/images/generations", {"model": "gpt-image-1", "prompt": "a cat"}) as answer:
        assert await answer.read() == image
    forwarding.stub.behave = Behaviour(raw=[b'{"id": "batch_1"}'], content_type="application/json")
    async with forwarding.post("/openai/v1/batches", {"input_file_id": "file-1"}) as answer:
        assert answer.status == 200
    first, second = await forwarding.wait_for_calls(2)
    assert (first.endpoint, first.model, first.tokens_out) == ("/images/generations", "gpt-image-1", 272)
    assert first.tokens_in == 9
    assert (second.endpoint, second.status, second.tokens_out) == ("/batches", 200, 0)
    assert first.fingerprint != second.fingerprint
    forwarding.suspend()
    async with forwarding.post("/openai/v1/batches", {"input_file_id": "file-1"}) as answer:
        assert answer.status == 429


async def test_geminis_embeddings_are_counted_by_their_text(edge: EdgeSurface) -> None:
    edge.stub.behave = Behaviour(raw=[b'{"embedding": {"values": [0.5]}}'], content_type="application/json")
    for text in ("twelve chars", "other chars."):
        body = {"content": {"parts": [{"text": text}]}}
        async with edge.post("/gemini/v1beta/models/gemini-embedding-001:embedContent", body) as answer:
            assert answer.status == 200
    first, second = await edge.wait_for_calls(2)
    assert (first.endpoint, first.tokens_in, first.tokens_out) == (":embedContent", 3, 0)
    assert first.fingerprint != second.fingerprint


@WITH_SDKS
async def test_as_the_openai_sdk_asks_for_it(edge: EdgeSurface) -> None:
    edge.stub.behave = Behaviour(raw=[b'{"object": "list", "data": [], "id": "x"}'], content_type="application/json")

    def ask() -> None:
        with openai.OpenAI(
            api_key="sk", base_url=f"{edge.url}/openai/v1", default_headers=HEADER, max_retries=0
        ) as sdk:
            sdk.models.list()
            sdk.models.retrieve("gpt-4o")
            sdk.responses.retrieve("resp_1")
            sdk.responses.cancel("resp_1")
            sdk.responses.input_items.list("resp_1")
            sdk.responses.delete("resp_1")
            sdk.files.create(file=("a.jsonl", b"{}"), purpose="batch")
            sdk.files.list()
            sdk.files.content("file-1")
            sdk.files.delete("file-1")
            sdk.batches.list()
            sdk.batches.retrieve("batch_1")
            sdk.batches.cancel("batch_1")
            sdk.moderations.create(input="hi")
            with pytest.raises(openai.PermissionDeniedError, match="ATLAS_EDGE_FORWARD_UNREADABLE"):
                sdk.batches.create(input_file_id="f", endpoint="/v1/responses", completion_window="24h")

    await asyncio.to_thread(ask)
    assert len(edge.stub.calls) == 14
    assert edge.log.records == []


@WITH_SDKS
async def test_as_the_anthropic_sdk_asks_for_it(edge: EdgeSurface) -> None:
    edge.stub.behave = Behaviour(raw=[b'{"input_tokens": 9, "data": []}'], content_type="application/json")

    def ask() -> int:
        with anthropic.Anthropic(
            api_key="sk", base_url=f"{edge.url}/anthropic", default_headers=HEADER, max_retries=0
        ) as sdk:
            sdk.models.list()
            sdk.messages.batches.list()
            sdk.messages.batches.cancel("msgbatch_1")
            with pytest.raises(anthropic.PermissionDeniedError, match="ATLAS_EDGE_FORWARD_UNREADABLE"):
                sdk.messages.batches.create(requests=[])
            return sdk.messages.count_tokens(model="claude-sonnet-4-5", messages=ASKED).input_tokens

    assert await asyncio.to_thread(ask) == 9
    assert len(edge.stub.calls) == 4
    assert edge.log.records == []


def test_every_endpoint_is_of_one_kind() -> None:
    """A pattern takes nothing from a path that stands in the table as it is."""
    openai_like = ENDPOINTS[Dialect.OPENAI]
    assert openai_like.at("/responses/input_tokens")["POST"].kind is Kind.FREE
    assert openai_like.at("/responses/compact")["POST"].kind is Kind.COUNTED
    assert "POST" not in openai_like.at("/responses/anything")
    assert openai_like.at("/responses/a/b/c") == {}
