"""What a call used, in every provider's own form: from the types of the SDKs that are installed (openai, anthropic)
and from the fields of others' types and API references, never from the reader.
"""

import json
from typing import Any, NamedTuple

import pytest

from ingest_gateway.surfaces.burn.edge.usage import BodyReader, CallUsage, StreamReader
from ingest_gateway.surfaces.burn.usage_conventions import USAGE, When, read_counts
from tests.support.provider_sdks import WITH_SDKS

NO_CACHE: dict[str, Any] = {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
HI = {"role": "assistant", "content": "Hi there"}
PROMPT_CHARACTERS = 400
"""A hundred tokens, where they must be estimated; the answer's "Hi there" is two."""


class Example(NamedTuple):
    provider: str
    endpoint: str
    when: When
    frames: tuple[Any, ...]
    usage: CallUsage


def chat(usage: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": HI, "finish_reason": "stop"}], "usage": usage, **more}


def chunk(usage: Any = None, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": "Hi there"}, **choice}], "usage": usage}


def last(usage: Any) -> dict[str, Any]:
    return {"choices": [], "usage": usage}


OPENAI = {
    **{"prompt_tokens": 900, "completion_tokens": 70, "total_tokens": 970},
    "prompt_tokens_details": {
        **{"cached_tokens": 512, "audio_tokens": 0, "cache_write_tokens": 100},
        **{"image_tokens": None, "text_tokens": None},
    },
    "completion_tokens_details": {
        **{"reasoning_tokens": 64, "audio_tokens": None, "text_tokens": None},
        **{"accepted_prediction_tokens": None, "rejected_prediction_tokens": None},
    },
}
OPENAI_READ = CallUsage(900, 70, 512, written_tokens=100)
RESPONSE = {
    **{"input_tokens": 80, "output_tokens": 30, "total_tokens": 110},
    "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 0, "cache_write_tokens_details": None},
    "output_tokens_details": {"reasoning_tokens": 20},
}
NOTHING_MORE = {"output_tokens_details": None, "server_tool_use": None}
ANTHROPIC: dict[str, Any] = {
    **{"input_tokens": 10, "output_tokens": 50, "cache_read_input_tokens": 2_000, "cache_creation_input_tokens": 300},
    "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
    **{**NOTHING_MORE, "inference_geo": None, "service_tier": None, "speed": None},
}
ANTHROPIC_READ = CallUsage(2_310, 50, 2_000, written_tokens=100, written_long_tokens=200)
DELTA = {
    **{"output_tokens": 50, "input_tokens": 10, "cache_read_input_tokens": 2_000, "cache_creation_input_tokens": 300},
    **NOTHING_MORE,
}
EMBEDDING = {"prompt_tokens": 8, "total_tokens": 8}
VECTORS = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
GEMINI = {
    "promptTokenCount": 100,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 30,
    "cachedContentTokenCount": 60,
    "toolUsePromptTokenCount": 5,
    "totalTokenCount": 155,
}
CANDIDATE = {"candidates": [{"content": {"parts": [{"text": "Hi there"}]}}]}
CONVERSE = {
    "inputTokens": 10,
    "outputTokens": 50,
    "totalTokens": 2_360,
    "cacheReadInputTokens": 2_000,
    "cacheWriteInputTokens": 300,
    "cacheDetails": [{"ttl": "5m", "inputTokens": 100}, {"ttl": "1h", "inputTokens": 200}],
}
COHERE = {"billed_units": {"input_tokens": 5, "output_tokens": 7}, "tokens": {"input_tokens": 71, "output_tokens": 7}}

EXAMPLES = [
    Example("openai", "/chat/completions", When.BODY, (chat(OPENAI),), OPENAI_READ),
    Example("openai", "/chat/completions", When.LAST, (chunk(), last(OPENAI)), OPENAI_READ),
    Example("openai", "/completions", When.BODY, ({"choices": [{"text": "Hi there"}], "usage": OPENAI},), OPENAI_READ),
    Example("openai", "/embeddings", When.BODY, ({"data": VECTORS, "usage": EMBEDDING},), CallUsage(8, 0)),
    Example("openai", "/responses", When.BODY, ({"output": [], "usage": RESPONSE},), CallUsage(80, 30, 64)),
    Example(
        *("openai", "/responses", When.LAST),
        (
            {"type": "response.created", "response": {"usage": None}},
            {"type": "response.output_text.delta", "delta": "Hi there"},
            {"type": "response.completed", "response": {"usage": RESPONSE}},
        ),
        CallUsage(80, 30, 64),
    ),
    Example(
        *("openai", "/images/generations", When.BODY),
        (
            {
                "data": [{"b64_json": "AAAA"}],
                "usage": {
                    "input_tokens": 14,
                    "output_tokens": 4_160,
                    "total_tokens": 4_174,
                    "input_tokens_details": {"image_tokens": 0, "text_tokens": 14},
                },
            },
        ),
        CallUsage(14, 4_160),
    ),
    Example("anthropic", "/messages", When.BODY, ({"content": [HI], "usage": ANTHROPIC},), ANTHROPIC_READ),
    Example(
        *("anthropic", "/messages", When.BEGUN),
        ({"type": "message_start", "message": {"usage": ANTHROPIC | {"output_tokens": 1}}},),
        CallUsage(2_310, 1, 2_000, True, written_tokens=100, written_long_tokens=200),
    ),
    Example(
        *("anthropic", "/messages", When.SO_FAR),
        (
            {"type": "message_start", "message": {"usage": ANTHROPIC | {"output_tokens": 1}}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi there"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": DELTA},
        ),
        ANTHROPIC_READ,
    ),
    Example("gemini", ":generateContent", When.BODY, (CANDIDATE | {"usageMetadata": GEMINI},), CallUsage(105, 50, 60)),
    Example(
        *("gemini", ":streamGenerateContent", When.SO_FAR),
        (
            CANDIDATE | {"usageMetadata": {"promptTokenCount": 100, "totalTokenCount": 100}},
            CANDIDATE | {"usageMetadata": GEMINI},
        ),
        CallUsage(105, 50, 60),
    ),
    # Gemini by OpenAI's API: thoughts are in the total alone
    Example(
        *("gemini", "/chat/completions", When.BODY),
        (chat({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150}),),
        CallUsage(100, 50),
    ),
    Example(
        *("openrouter", "/chat/completions", When.BODY),
        (chat(OPENAI | {"cost": 0.0002, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.004}}),),
        OPENAI_READ._replace(cost_usd=0.0042),
    ),
    Example(
        *("openrouter", "/chat/completions", When.LAST),
        (chunk(), last(OPENAI | {"cost": 0.004, "is_byok": False, "cost_details": {"upstream_inference_cost": None}})),
        OPENAI_READ._replace(cost_usd=0.004),
    ),
    Example(
        *("mistral", "/chat/completions", When.LAST),
        (
            chunk(),
            chunk({"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "prompt_audio_seconds": None}),
        ),
        CallUsage(9, 3),
    ),
    Example(
        *("deepseek", "/chat/completions", When.LAST),
        (
            chunk(),
            last(
                {
                    "prompt_tokens": 100,
                    "completion_tokens": 9,
                    "total_tokens": 109,
                    "prompt_cache_hit_tokens": 64,
                    "prompt_cache_miss_tokens": 36,
                }
            ),
        ),
        CallUsage(100, 9, 64),
    ),
    # xAI counts reasoning beside the completion
    Example(
        *("xai", "/chat/completions", When.BODY),
        (
            chat(
                {
                    "prompt_tokens": 32,
                    "completion_tokens": 9,
                    "total_tokens": 135,
                    "completion_tokens_details": {"reasoning_tokens": 94},
                }
            ),
        ),
        CallUsage(32, 103),
    ),
    Example(
        *("perplexity", "/chat/completions", When.SO_FAR),
        (
            chunk({"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}),
            chunk(
                {
                    "prompt_tokens": 7,
                    "completion_tokens": 9,
                    "total_tokens": 16,
                    "search_context_size": "low",
                    "cost": {"input_tokens_cost": 0.0, "output_tokens_cost": 0.0, "total_cost": 0.006},
                }
            ),
        ),
        CallUsage(7, 9, cost_usd=0.006),
    ),
    Example(
        *("vllm", "/chat/completions", When.SO_FAR),
        (
            chunk({"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}),
            chunk({"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}),
        ),
        CallUsage(7, 9),
    ),
    Example(
        *("groq", "/chat/completions", When.LAST),
        (
            chunk(),
            {
                "choices": [{"delta": {}, "finish_reason": "stop"}],
                "x_groq": {
                    "id": "req_1",
                    "usage": {
                        "queue_time": 0.01,
                        "prompt_tokens": 18,
                        "prompt_time": 0.003,
                        "completion_tokens": 46,
                        "completion_time": 0.1,
                        "total_tokens": 64,
                        "total_time": 0.1,
                    },
                },
            },
        ),
        CallUsage(18, 46),
    ),
    Example(
        *("moonshot", "/chat/completions", When.LAST),
        (
            chunk(),
            {
                "choices": [
                    {
                        "delta": {},
                        "finish_reason": "stop",
                        "usage": {
                            "prompt_tokens": 19,
                            "completion_tokens": 13,
                            "total_tokens": 32,
                            "cached_tokens": 10,
                        },
                    }
                ]
            },
        ),
        CallUsage(19, 13, 10),
    ),
    Example(
        *("voyage", "/embeddings", When.BODY),
        ({"data": VECTORS, "usage": {"total_tokens": 10}},),
        CallUsage(10, 0, 0, True),
    ),
    Example("bedrock", "/converse", When.BODY, ({"output": {"message": HI}, "usage": CONVERSE},), ANTHROPIC_READ),
    Example("bedrock", "/converse-stream", When.LAST, ({"metadata": {"usage": CONVERSE}},), ANTHROPIC_READ),
    Example(
        *("bedrock", "/invoke", When.LAST),
        (
            {
                "type": "message_stop",
                "amazon-bedrock-invocationMetrics": {
                    "inputTokenCount": 10,
                    "outputTokenCount": 50,
                    "invocationLatency": 900,
                    "firstByteLatency": 100,
                    "cacheReadInputTokenCount": 2_000,
                    "cacheWriteInputTokenCount": 300,
                },
            },
        ),
        CallUsage(2_310, 50, 2_000, written_tokens=300),
    ),
    Example("cohere", "/v2/chat", When.BODY, ({"message": HI, "usage": COHERE},), CallUsage(71, 7)),
    Example("cohere", "/v2/chat", When.LAST, ({"type": "message-end", "delta": {"usage": COHERE}},), CallUsage(71, 7)),
]


def read(frames: tuple[Any, ...], *, streams: bool) -> CallUsage:
    reader = StreamReader() if streams else BodyReader()
    for frame in frames:
        text = json.dumps(frame).encode()
        reader.feed(b"data: " + text + b"\n\n" if streams else text)
    return reader.usage(PROMPT_CHARACTERS)


@pytest.mark.requirement("B-042", "B-058")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.provider}{one.endpoint} {one.when}")
def test_usage_as_each_provider_tells_it(example: Example) -> None:
    assert read(example.frames, streams=example.when is not When.BODY) == example.usage


def test_every_row_of_the_table_has_an_example() -> None:
    assert {row[:3] for row in EXAMPLES} == {row[:3] for row in USAGE}


COMPACTED = {
    **{"input_tokens": 23_000, "output_tokens": 1_000},
    "iterations": [
        {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500, "cache_creation": None, **NO_CACHE},
        {
            **{"type": "message", "input_tokens": 23_000, "output_tokens": 1_000, "cache_creation": None, **NO_CACHE},
            "model": None,
        },
    ],
    **{"cache_creation": None, "cache_creation_input_tokens": None, "cache_read_input_tokens": None},
    **{**NOTHING_MORE, "fallback_credit": None, "inference_geo": None, "service_tier": None, "speed": None},
}
"""The SDK's own words: a compaction's tokens are not included in the top-level fields."""
PLAIN = {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}


@pytest.mark.requirement("B-060")
@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (PLAIN | {"cost": {"currency": "USD"}}, CallUsage(7, 9)),
        (PLAIN | {"prompt_tokens": "7"}, CallUsage(7, 9)),
        (PLAIN | {"completion_tokens": 149.5, "total_tokens": 156.5}, CallUsage(7, 150)),
        (PLAIN | {"prompt_tokens_details": []}, CallUsage(7, 9)),
        (PLAIN | {"completion_tokens_details": 5, "prompt_tokens_details": {"cached_tokens": {}}}, CallUsage(7, 9)),
        (PLAIN | {"prompt_tokens": None}, CallUsage(7, 9)),  # the total tells it
        (PLAIN | {"completion_tokens": True}, CallUsage(7, 9)),
        ({"prompt_tokens": "many", "completion_tokens": 9}, CallUsage(100, 9, 0, True)),
        ({"prompt_tokens": 7, "completion_tokens": "many"}, CallUsage(7, 2, 0, True)),
        ({"prompt_tokens": 7, "completion_tokens": 0}, CallUsage(7, 2, 0, True)),  # there is text, so it is not nothing
        (
            {"prompt_tokens": 7, "completion_tokens": 0, "completion_tokens_details": {"reasoning_tokens": 40}},
            CallUsage(7, 40),
        ),
        ({"total_tokens": 130}, CallUsage(100, 30, 0, True)),
        ({}, CallUsage(100, 2, 0, True)),
        ([], CallUsage(100, 2, 0, True)),
        ("none", CallUsage(100, 2, 0, True)),
        # OpenAI's names over Anthropic's cache, counted within the prompt (LiteLLM) and beside it
        (
            {"prompt_tokens": 110, "completion_tokens": 9, "total_tokens": 119, "cache_read_input_tokens": 100},
            CallUsage(110, 9, 100),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 119, "cache_read_input_tokens": 100},
            CallUsage(110, 9, 100),
        ),
        (
            {"prompt_tokens": 150, "completion_tokens": 9, "total_tokens": 259, "cache_read_input_tokens": 100},
            CallUsage(250, 9, 100),
        ),
        # gateways that speak several conventions write all of them
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 16, "input_tokens": 7, "output_tokens": 9},
         CallUsage(7, 9)),
        # LiteLLM, over Anthropic
        ({"prompt_tokens": 2_310, "completion_tokens": 50, "total_tokens": 2_360, "cache_read_input_tokens": 2_000,
          "cache_creation_input_tokens": 300,
          "prompt_tokens_details": {"cached_tokens": 2_000, "cache_creation_tokens": 300,
                                    "cache_creation_token_details": {"ephemeral_1h_input_tokens": 200}}},
         ANTHROPIC_READ),
        (PLAIN | {"estimated_cost": 0.0000268}, CallUsage(7, 9, cost_usd=0.0000268)),  # DeepInfra
        (PLAIN | {"cost": 1e30}, CallUsage(7, 9)),
        (PLAIN | {"cost": 10**400, "prompt_tokens": 10**400}, CallUsage(1 << 40, 9)),
        ({"prompt_tokens": 7, "completion_tokens": 9, "cost": "0.004"}, CallUsage(7, 9, cost_usd=0.004)),
        (COMPACTED, CallUsage(203_000, 4_500)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streams", [False, True])
def test_each_member_is_read_for_itself(usage: Any, expected: CallUsage, streams: bool) -> None:
    frames = (chunk(), last(usage)) if streams else (chat(usage),)
    assert read(frames, streams=streams) == expected


@pytest.mark.parametrize("zeros", [last({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}), chunk(None)])
def test_zeros_behind_a_count_take_nothing_of_it_away(zeros: Any) -> None:
    assert read((chunk(), last(PLAIN), zeros), streams=True) == CallUsage(7, 9)


@pytest.mark.parametrize("usage", [None, 7, "x", [], {}, {"prompt_tokens": -1}, {"prompt_tokens": float("nan")}])
def test_what_tells_nothing(usage: Any) -> None:
    assert read_counts(usage) is None


@WITH_SDKS
def test_the_examples_are_what_the_types_of_the_sdks_write() -> None:
    from anthropic.types import CacheCreation, MessageDeltaUsage
    from anthropic.types import Usage as AnthropicUsage
    from anthropic.types.beta import BetaCompactionIterationUsage, BetaMessageIterationUsage, BetaUsage
    from openai.types import CompletionUsage
    from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails
    from openai.types.create_embedding_response import Usage as EmbeddingUsage
    from openai.types.responses import ResponseUsage
    from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

    written: list[tuple[Any, Any]] = [
        (
            OPENAI,
            CompletionUsage(
                prompt_tokens=900,
                completion_tokens=70,
                total_tokens=970,
                prompt_tokens_details=PromptTokensDetails(cached_tokens=512, audio_tokens=0, cache_write_tokens=100),
                completion_tokens_details=CompletionTokensDetails(reasoning_tokens=64),
            ),
        ),
        (
            RESPONSE,
            ResponseUsage(
                input_tokens=80,
                output_tokens=30,
                total_tokens=110,
                input_tokens_details=InputTokensDetails(cached_tokens=64, cache_write_tokens=0),
                output_tokens_details=OutputTokensDetails(reasoning_tokens=20),
            ),
        ),
        (
            ANTHROPIC,
            AnthropicUsage(
                input_tokens=10,
                output_tokens=50,
                cache_read_input_tokens=2_000,
                cache_creation_input_tokens=300,
                cache_creation=CacheCreation(ephemeral_5m_input_tokens=100, ephemeral_1h_input_tokens=200),
            ),
        ),
        (
            DELTA,
            MessageDeltaUsage(
                output_tokens=50, input_tokens=10, cache_read_input_tokens=2_000, cache_creation_input_tokens=300
            ),
        ),
        (EMBEDDING, EmbeddingUsage(prompt_tokens=8, total_tokens=8)),
        (
            COMPACTED,
            BetaUsage(
                input_tokens=23_000,
                output_tokens=1_000,
                iterations=[
                    BetaCompactionIterationUsage(
                        type="compaction", input_tokens=180_000, output_tokens=3_500, **NO_CACHE
                    ),
                    BetaMessageIterationUsage(type="message", input_tokens=23_000, output_tokens=1_000, **NO_CACHE),
                ],
            ),
        ),
    ]
    for example, model in written:
        assert example == json.loads(model.model_dump_json())
