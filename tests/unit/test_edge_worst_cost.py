"""What a strict budget sets aside: no way of writing a request makes it less than the call may cost."""

import json
from typing import Any

import pytest

from domain.guardrails.prices import FALLBACK, MODELS, cost_of
from ingest_gateway.surfaces.burn.edge.endpoints import Dialect
from ingest_gateway.surfaces.burn.edge.model_limits import UNLISTED, limits_of
from ingest_gateway.surfaces.burn.edge.prompt_media import IMAGE_TOKENS
from ingest_gateway.surfaces.burn.edge.providers import ProviderTarget
from ingest_gateway.surfaces.burn.edge.worst_cost import Unpriceable, worst_cost_nano

CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, MESSAGES = (
    ProviderTarget("http://x", path)
    for path in ("/chat/completions", "/completions", "/responses", "/embeddings", "/messages")
)
GEMINI = ProviderTarget("http://x", ":generateContent", "gemini-2.5-pro")
HI = [{"role": "user", "content": "hi"}]
MOST_OF_4O = 16_384
"""What gpt-4o writes where its caller states no limit."""


def tokens_out(body: Any, target: ProviderTarget = CHAT, dialect: Dialect = Dialect.OPENAI) -> int:
    """As far as they are in the worst cost: what the same prompt costs beyond its own tokens, by the output's rate."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    model = target.model or "gpt-4o"
    more = worst_cost_nano(text, target, dialect) - cost_of(model, len(text), 0).nano
    return more // (cost_of(model, 0, 1_000_000).nano // 1_000_000)


@pytest.mark.requirement("F54")
@pytest.mark.parametrize(
    ("members", "most"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 5}, 5),
        ({"max_tokens": 200_000, "max_completion_tokens": 5}, 200_000),
        ({"max_tokens": 5, "max_completion_tokens": 200_000}, 200_000),
        ({"max_tokens": 200_000, "max_output_tokens": 0}, 200_000),  # another endpoint's field
        ({"max_output_tokens": 5}, MOST_OF_4O),
        ({"max_tokens": "200000"}, 200_000),
        ({"max_tokens": 2e5}, 200_000),
        ({"max_tokens": 1.5}, 2),
        ({"max_tokens": 0}, MOST_OF_4O),
        ({"max_tokens": -1}, MOST_OF_4O),
        ({"max_tokens": None}, MOST_OF_4O),
        ({"max_tokens": True}, MOST_OF_4O),
        ({"max_tokens": [5]}, MOST_OF_4O),
        ({"max_tokens": "many"}, MOST_OF_4O),
        ({"max_tokens": None, "max_completion_tokens": 5}, 5),
        ({}, MOST_OF_4O),
        ({"max_tokens": 5, "n": 3}, 15),
        ({"max_tokens": 5, "n": "3"}, 15),
        ({"max_tokens": 5, "n": 3.0}, 15),
        ({"max_tokens": 5, "n": None}, 5),
        ({"max_tokens": 5, "n": 0}, 5 * 128),
        ({"max_tokens": 5, "n": "all"}, 5 * 128),
        ({"max_tokens": 5, "best_of": 20}, 5),  # not a field of this endpoint
    ],
)
def test_chat(members: dict[str, Any], most: int) -> None:
    assert tokens_out({"model": "gpt-4o", "messages": HI, **members}) == most


@pytest.mark.requirement("F54")
@pytest.mark.parametrize(
    ("text", "most"),
    [
        (b'{"model":"gpt-4o","max_tokens":5,"max_tokens":200000}', 200_000),
        (b'{"model":"gpt-4o","max_tokens":200000,"max_tokens":5}', 200_000),
        (b'{"model":"gpt-4o","max_tokens":5,"n":2,"n":4}', 20),
        (b'{"model":"gpt-4o","max_tokens":5,"max\\u005ftokens":200000}', 200_000),
    ],
)
def test_a_member_given_twice(text: bytes, most: int) -> None:
    assert tokens_out(text) == most


@pytest.mark.requirement("F54")
@pytest.mark.parametrize(
    ("members", "most"),
    [
        ({"prompt": "hi", "max_tokens": 5}, 5),
        ({"prompt": "hi", "max_tokens": 5, "best_of": 20}, 100),
        ({"prompt": "hi", "max_tokens": 5, "best_of": 4, "n": 2}, 20),
        ({"prompt": ["a", "b", "c"], "max_tokens": 5}, 15),
        ({"prompt": ["a", "b", "c"], "max_tokens": 5, "n": 2}, 30),
        ({"prompt": [1, 2, 3], "max_tokens": 5}, 5),  # one prompt, in tokens
        ({"prompt": [[1, 2], [3]], "max_tokens": 5}, 10),
    ],
)
def test_completions(members: dict[str, Any], most: int) -> None:
    assert tokens_out({"model": "gpt-4o", **members}, COMPLETIONS) == most


@pytest.mark.requirement("F54")
@pytest.mark.parametrize(
    ("target", "dialect", "body", "most"),
    [
        (RESPONSES, Dialect.OPENAI, {"model": "gpt-4o", "input": "hi", "max_output_tokens": 7, "max_tokens": 1}, 7),
        (RESPONSES, Dialect.OPENAI, {"model": "gpt-4o", "input": "hi", "max_tokens": 1}, MOST_OF_4O),
        (GEMINI, Dialect.GEMINI, {"generationConfig": {"maxOutputTokens": 7}}, 7),
        (GEMINI, Dialect.GEMINI, {"generationConfig": {"maxOutputTokens": "7", "candidateCount": 3}}, 21),
        (GEMINI, Dialect.GEMINI, {"generation_config": {"max_output_tokens": 7, "candidate_count": 3}}, 21),
        (GEMINI, Dialect.GEMINI, {"generationConfig": {"maxOutputTokens": 7}, "generation_config": {}}, 7),
        (GEMINI, Dialect.GEMINI, {"generationConfig": {"max_output_tokens": 9, "maxOutputTokens": 7}}, 9),
        (GEMINI, Dialect.GEMINI, {"max_tokens": 7}, 65_536),
        (GEMINI, Dialect.GEMINI, {}, 65_536),
    ],
)
def test_other_endpoints(target: ProviderTarget, dialect: Dialect, body: Any, most: int) -> None:
    assert tokens_out(body, target, dialect) == most


def test_anthropic_thinks_beside_what_it_writes() -> None:
    body = {"model": "gpt-4o", "messages": HI, "max_tokens": 5, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    assert tokens_out(body, MESSAGES, Dialect.ANTHROPIC) == 1_029


def test_what_anthropic_caches_costs_more() -> None:
    plain = json.dumps({"model": "claude-3-5-sonnet", "max_tokens": 1, "messages": HI}).encode()
    cached = plain.replace(b'"hi"', b'"hi", "cache_control": {"type": "ephemeral"}')
    more = worst_cost_nano(cached, MESSAGES, Dialect.ANTHROPIC) / worst_cost_nano(plain, MESSAGES, Dialect.ANTHROPIC)
    assert more > 2


def test_what_openai_caches_unasked_costs_more() -> None:
    body = json.dumps({"model": "gpt-5.6-sol", "max_tokens": 1, "messages": [{"role": "user", "content": "x" * 4_000}]})
    assert worst_cost_nano(body.encode(), CHAT, Dialect.OPENAI) >= cost_of("gpt-5.6-sol", 4_000, 1).nano * 2


def prompt_tokens(content: Any, target: ProviderTarget = CHAT, **more: Any) -> int:
    """Of a call that writes one token."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": content}], "max_tokens": 1, **more}
    text = json.dumps(body).encode()
    nano = worst_cost_nano(text, target, Dialect.OPENAI) - cost_of("gpt-4o", 0, 1).nano
    return nano // (cost_of("gpt-4o", 1_000_000, 0).nano // 1_000_000)


BASE64 = "A" * 400_000
CONTEXT = limits_of("gpt-4o").context


@pytest.mark.requirement("F54")
@pytest.mark.parametrize(
    ("content", "at_least", "at_most"),
    [
        ("x" * 1_000, 1_000, 1_200),
        ("日" * 1_000, 3_000, 7_000),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64," + BASE64}}], IMAGE_TOKENS, 6_000),
        ([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}] * 3, 3 * IMAGE_TOKENS, 16_000),
        ([{"type": "input_image", "image_url": "data:image/png;base64," + BASE64}], IMAGE_TOKENS, 6_000),
        ([{"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}], 25_000, 26_000),
        ([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}}], 5_000, 6_000),
        ([{"type": "document", "source": {"media_type": "application/pdf", "data": BASE64}}], CONTEXT, CONTEXT),
        ([{"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}], CONTEXT, CONTEXT),
        ([{"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "original"}}], 10_000, 26_000),
        ([{"type": "input_image", "image_url": "https://x/y.png", "detail": "original"}], 10_000, 26_000),
        ([{"type": "file", "file": {"file_id": "file-1"}}], CONTEXT, CONTEXT),
        ([{"type": "document_url", "document_url": "https://x/y.pdf"}], CONTEXT, CONTEXT),  # Mistral
        ([{"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}], CONTEXT, CONTEXT),  # OpenRouter, vLLM
        ([{"inlineData": {"mimeType": "video/mp4", "data": BASE64}}], CONTEXT, CONTEXT),
        ([{"inlineData": {"mimeType": "audio/mp3", "data": BASE64}}], 25_000, 26_000),
        # text that only looks like an image
        ([{"type": "text", "text": "data:image/png;base64," + BASE64}], CONTEXT, CONTEXT),
        ([{"functionResponse": {"response": {"inlineData": {"mimeType": "image/png", "data": BASE64}}}}],
         CONTEXT, CONTEXT),
        ([{"type": "tool_use", "input": {"source": {"media_type": "image/png", "data": BASE64}}}], CONTEXT, CONTEXT),
        ("x" * 1_000_000, CONTEXT, CONTEXT),
    ],
)  # fmt: skip
def test_prompts(content: Any, at_least: int, at_most: int) -> None:
    assert at_least <= prompt_tokens(content) <= at_most


@pytest.mark.parametrize(
    "more",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"type": "item_reference", "id": "rs_1"}]},  # as Vercel's ai sends earlier items
        {"input": [{"id": "msg_1"}]},
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
    ],
)
def test_what_is_only_referred_to_may_fill_the_context(more: dict[str, Any]) -> None:
    assert prompt_tokens("hi", RESPONSES, max_output_tokens=1, **more) == CONTEXT


SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
OWN_TOOLS: list[Any] = [
    {"type": None, "name": "h", "input_schema": {}},
    {"type": "function", "function": {"name": "f"}},
    {"name": "g", "input_schema": {}},
    {"type": "custom"},
]


@pytest.mark.requirement("F54")
@pytest.mark.parametrize(
    ("dialect", "more", "contexts"),
    [
        (Dialect.OPENAI, {"tools": [{"type": "web_search"}], "max_tool_calls": 4}, 5),
        (Dialect.OPENAI, {"tools": [{"type": "mcp", "server_url": "https://x"}], "max_tool_calls": 1}, 2),
        (Dialect.OPENAI, {"web_search_options": {"search_context_size": "high"}}, 1),
        (Dialect.OPENAI, {"plugins": [{"id": "web"}]}, 1),
        (Dialect.OPENAI, {"search_parameters": {"mode": "auto"}}, 1),
        (Dialect.OPENAI, {"enable_search": False, "plugins": []}, 0),
        (Dialect.OPENAI, {"tools": [{"type": "browser_search"}]}, None),  # Groq's
        (Dialect.ANTHROPIC, {"tools": [SEARCH]}, 4),
        (Dialect.ANTHROPIC, {"tools": [SEARCH, {"type": "web_fetch_20250910", "max_uses": 2}]}, 6),
        (Dialect.GEMINI, {"tools": [{"googleSearch": {}}]}, 2),
        (Dialect.ANTHROPIC, {"context_management": {"edits": [{"type": "compact_20260112"}]}}, 2),
        (Dialect.ANTHROPIC, {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, 0),
        (Dialect.OPENAI, {"context_management": [{"type": "compaction", "compact_threshold": 1_000}]}, 2),
        (Dialect.ANTHROPIC, {"tools": [SEARCH], "compaction": {"enabled": True}}, 5),
        # nobody says how often
        (Dialect.OPENAI, {"tools": [{"type": "web_search"}]}, None),
        (Dialect.OPENAI, {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, None),
        (Dialect.ANTHROPIC, {"tools": [SEARCH | {"max_uses": None}]}, None),
        (Dialect.ANTHROPIC, {"tools": [SEARCH | {"max_uses": None}], "max_tool_calls": 1}, None),
        (Dialect.OPENAI, {"tools": [{"type": "web_search", "max_uses": 1}]}, None),
        (Dialect.ANTHROPIC, {"tools": [{"type": "code_execution_20250825"}]}, None),
        (Dialect.ANTHROPIC, {"mcp_servers": [{"type": "url", "url": "https://x"}]}, None),
        # run by the caller
        (Dialect.OPENAI, {"tools": OWN_TOOLS}, 0),
        (Dialect.ANTHROPIC, {"tools": [{"type": "bash_20250124"}, {"type": "computer_20251124"}, *OWN_TOOLS]}, 0),
        (Dialect.GEMINI, {"tools": [{"functionDeclarations": [{"name": "f"}]}]}, 0),
    ],
)
def test_tools_that_the_provider_runs_read_contexts(
    dialect: Dialect, more: dict[str, Any], contexts: int | None
) -> None:
    target = GEMINI._replace(model="gpt-4o") if dialect is Dialect.GEMINI else RESPONSES
    body = json.dumps({"model": "gpt-4o", "max_output_tokens": 1, "generationConfig": {"maxOutputTokens": 1}, **more})
    if contexts is None:
        with pytest.raises(Unpriceable, match="max_tool_calls"):
            worst_cost_nano(body.encode(), target, dialect)
        return
    nano = worst_cost_nano(body.encode(), target, dialect)
    assert (nano >= cost_of("gpt-4o", CONTEXT * contexts, 0).nano) and (contexts or nano < 100_000_000)


@pytest.mark.requirement("F54")
def test_what_openrouter_hands_on_to_be_cached_costs_more() -> None:
    body = b'{"model":"anthropic/claude-sonnet-4-5","max_tokens":1,"messages":[{"cache\\u005fcontrol":{"ttl":"1h"}}]}'
    dearest = cost_of("claude-sonnet-4-5", len(body), 1, written_long_tokens=len(body)).nano
    assert worst_cost_nano(body, CHAT, Dialect.OPENAI) == dearest


@pytest.mark.requirement("F54")
def test_a_prediction_is_billed_as_output_as_far_as_it_is_wrong() -> None:
    body = {"model": "gpt-4o", "messages": HI, "max_tokens": 5, "prediction": {"type": "content", "content": "x" * 900}}
    assert tokens_out(body) >= 905


def test_embeddings_have_as_many_contexts_as_texts_and_no_output() -> None:
    body = json.dumps({"model": "text-embedding-3-small", "input": ["x" * 40_000] * 3}).encode()
    assert worst_cost_nano(body, EMBEDDINGS, Dialect.OPENAI) == cost_of("text-embedding-3-small", 3 * 8_192, 0).nano


@pytest.mark.requirement("B-058", "F54")
@pytest.mark.parametrize(
    ("text", "models"),
    [
        (b'{"model":"gpt-4o-mini","model":"o1-pro","max_tokens":5}', ["gpt-4o-mini", "o1-pro"]),
        (b'{"model":"o1-pro","model":"gpt-4o-mini","max_tokens":5}', ["gpt-4o-mini", "o1-pro"]),
        (b'{"model":"gpt-4o-mini","models":["o1-pro"],"max_tokens":5}', ["gpt-4o-mini", "o1-pro"]),
        (b'{"model":7,"max_tokens":5}', list(MODELS)),
        (b'{"model":"openrouter/auto","max_tokens":5}', list(MODELS)),
        (b'{"model":"@preset/cheap","max_tokens":5}', list(MODELS)),
        (b'{"model":"gpt-4o","preset":"dear","max_tokens":5}', list(MODELS)),
        (b'{"max_tokens":5}', list(MODELS)),
        (b'{"model":"made up","max_tokens":5}', ["made up"]),
        (b'{"model":"gpt-5.6-sol","max_tokens":5}', ["gpt-5.6-sol"]),
    ],
)
def test_the_dearest_model_counts(text: bytes, models: list[str]) -> None:
    dearest = max(cost_of(model, len(text), 5, written_long_tokens=len(text)).nano for model in models)
    assert worst_cost_nano(text, CHAT, Dialect.OPENAI) == dearest


def test_a_model_that_is_not_listed_writes_as_much_as_any() -> None:
    text = b'{"model":"made up"}'
    rate = FALLBACK.tokens_out
    assert worst_cost_nano(text, CHAT, Dialect.OPENAI) >= UNLISTED.output * rate // 1_000


@pytest.mark.requirement("F54")
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b'{"max_tokens": NaN}', b'{"max_tokens": Infinity}'),
        *('{"model":"gpt-4o"}'.encode("utf-16"), b'{"model":"gpt-4o","background":true}'),
    ],
)
def test_what_cant_be_priced(body: bytes) -> None:
    with pytest.raises(Unpriceable):
        worst_cost_nano(body, CHAT, Dialect.OPENAI)


@pytest.mark.parametrize("tokens", [b"1e999", b"9" * 400, b"99999999999999999999"])
def test_a_number_without_end_costs_what_fits_the_log(tokens: bytes) -> None:
    body = b'{"model":"o1-pro","max_tokens":' + tokens + b',"n":' + tokens + b"}"
    assert 1 << 40 < worst_cost_nano(body, CHAT, Dialect.OPENAI) < 1 << 63


@pytest.mark.parametrize(
    ("model", "output"),
    [
        *(("gpt-4o-2024-08-06", 16_384), ("openai/gpt-4o-mini", 16_384), ("gpt-4", 32_768), ("gpt-4.1-nano", 32_768)),
        *(("gpt-4-turbo", 4_096), ("gpt-3.5-turbo", 4_096), ("o3-mini", 100_000), ("gpt-5-mini", 128_000)),
        *(("gpt-5-pro", 272_000), ("gpt-5.4-mini", 128_000), ("gpt-6-sol", 128_000), ("grok-4.20", 1_000_000)),
        *(("gemini-3.5-flash", 65_536), ("gemini-4-argon", 1_048_576), ("made up", 1_048_576)),
        *(("claude-3-5-sonnet-20241022", 8_192), ("claude-sonnet-4-5", 128_000), ("gemini-2.5-flash", 65_536)),
    ],
)
def test_what_models_write_at_most(model: str, output: int) -> None:
    assert limits_of(model).output == output
