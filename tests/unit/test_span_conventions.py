"""Each instrumentation's spans as it writes them: what counts, once, and with which tokens. The shapes are those that
openai 3.54, anthropic 2.12, opentelemetry-instrumentation-openai and -anthropic 0.62, openinference 0.1.66 and 3.1,
langfuse 5.0 and Vercel's ai 6.0 exported; tests/clients/instrumentations has them run.
"""

import json
import math
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from domain.guardrails.counting import count
from domain.guardrails.state import in_memory
from ingest_gateway.surfaces.burn.otlp import Span, spans_of_json, spans_of_protobuf
from ingest_gateway.surfaces.burn.spans import calls_of
from schemas.guardrail_policy import DEFAULT_POLICY, Layer
from schemas.telemetry import ModelCall, Price, UsageFrom

START_NS = 1_779_107_696_789_000_000
CLAUDE, MSG = "claude-sonnet-4-5", "msg_01AbCdEfGhIjKlMnOpQrStUv"
SDK = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": CLAUDE,
    "gen_ai.response.model": f"{CLAUDE}-20250929",
    "gen_ai.response.id": MSG,
    "gen_ai.usage.input_tokens": 2_310,
    "gen_ai.usage.output_tokens": 50,
    "gen_ai.usage.cache_write.input_tokens": 300,
    "gen_ai.usage.cache_read.input_tokens": 2_000,
    "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 100,
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 200,
}
OPENLLMETRY = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": CLAUDE,
    "gen_ai.response.id": MSG,
    "gen_ai.usage.input_tokens": 2_310,
    "gen_ai.usage.output_tokens": 51,
    "gen_ai.usage.total_tokens": 2_361,
    "gen_ai.usage.cache_read.input_tokens": 2_000,
    "gen_ai.usage.cache_creation.input_tokens": 300,
    "gen_ai.input.messages": '[{"role": "user", "content": "hi"}]',
}
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.provider": "openai",
    "llm.model_name": "gpt-4o-2024-08-06",
    "llm.token_count.prompt": 100,
    "llm.token_count.completion": 20,
    "llm.token_count.total": 120,
    "llm.token_count.prompt_details.cache_read": 64,
    "llm.input_messages.0.message.content": "hi",
}
VERCEL = {
    "ai.operationId": "ai.streamText.doStream",
    "ai.model.id": "gpt-4o",
    "ai.model.provider": "openai.chat",
    "ai.prompt.messages": '[{"role":"user","content":"hi"}]',
    "ai.usage.inputTokens": 100,
    "ai.usage.outputTokens": 20,
    "ai.usage.inputTokenDetails.cacheReadTokens": 64,
    "ai.response.text": "Hello",
}
LANGFUSE = {
    "langfuse.observation.type": "generation",
    "langfuse.observation.model.name": "gpt-4o-2024-08-06",
    "langfuse.observation.input": '[{"role": "user", "content": "hi"}]',
    "langfuse.observation.usage_details": json.dumps(
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 64},
        }
    ),
}


def span(attributes: dict[str, Any], number: int = 1, parent: int = 0, trace: str = "a" * 32, **more: Any) -> Span:
    parent_id = f"{parent:016x}" if parent else ""
    return Span(
        trace,
        f"{number:016x}",
        START_NS,
        START_NS + 1_000_000_000,
        more.pop("is_error", False),
        attributes,
        {"service.name": "bot"},
        parent_id,
    )


def calls(*spans: Span) -> list[ModelCall]:
    found = calls_of(spans, "key_1")
    assert found.errors == []
    return found.calls


GPT_4O_NANO = 36 * 2_500 + 64 * 1_250 + 20 * 10_000
SONNET_NANO = 10 * 3_000 + 2_000 * 300 + 100 * 3_750 + 200 * 6_000 + 50 * 15_000


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        pytest.param(SDK, (2_310, 50, 2_000, SONNET_NANO), id="the anthropic SDK itself"),
        pytest.param(OPENINFERENCE, (100, 20, 64, GPT_4O_NANO), id="OpenInference"),
        pytest.param(VERCEL, (100, 20, 64, GPT_4O_NANO), id="Vercel"),
        pytest.param(
            VERCEL
            | {
                "ai.model.id": CLAUDE,
                "ai.usage.inputTokens": 10,
                "ai.usage.outputTokens": 50,
                "ai.usage.inputTokenDetails.cacheReadTokens": 2_000,
                "ai.response.providerMetadata": json.dumps(
                    {
                        "anthropic": {
                            "usage": {
                                "input_tokens": 10,
                                "output_tokens": 50,
                                "cache_read_input_tokens": 2_000,
                                "cache_creation_input_tokens": 300,
                                "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
                            }
                        }
                    }
                ),
            },
            (2_310, 50, 2_000, SONNET_NANO),
            id="Vercel 5 over Anthropic",
        ),
        pytest.param(
            {
                "ai.operationId": "ai.generateText.doGenerate",
                "ai.model.id": CLAUDE,
                "ai.usage.promptTokens": 3_000,
                "ai.usage.completionTokens": 50,
                "ai.response.providerMetadata": json.dumps(
                    {"anthropic": {"cacheCreationInputTokens": 300, "cacheReadInputTokens": 2_000}}
                ),
            },
            (5_300, 50, 2_000, 3_000 * 3_000 + 2_000 * 300 + 300 * 3_750 + 50 * 15_000),
            id="Vercel 4 over Anthropic",
        ),
        pytest.param(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.system": "anthropic",
                "gen_ai.request.model": CLAUDE,
                "gen_ai.usage.input_tokens": 2_310,
                "gen_ai.usage.output_tokens": 50,
                "gen_ai.usage.details.cache_read_tokens": 2_000,
                "gen_ai.usage.details.cache_write_tokens": 300,
            },
            (2_310, 50, 2_000, 10 * 3_000 + 2_000 * 300 + 300 * 3_750 + 50 * 15_000),
            id="Pydantic AI",
        ),
        pytest.param(LANGFUSE, (100, 20, 64, GPT_4O_NANO), id="Langfuse"),
        pytest.param(
            {
                "llm.request.type": "chat",
                "gen_ai.system": "OpenAI",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.usage.prompt_tokens": 100,
                "gen_ai.usage.completion_tokens": 20,
                "gen_ai.usage.cache_read_input_tokens": 64,
            },
            (100, 20, 64, GPT_4O_NANO),
            id="OpenLLMetry of 2024",
        ),
        pytest.param(
            {
                "openinference.span.kind": "EMBEDDING",
                "embedding.model_name": "text-embedding-ada-002",
                "llm.token_count.prompt": 1_000,
                "llm.token_count.total": 1_000,
            },
            (1_000, 0, 0, 100_000),
            id="OpenInference, embeddings",
        ),
        pytest.param(
            {"ai.operationId": "ai.embed.doEmbed", "ai.model.id": "text-embedding-3-small", "ai.usage.tokens": 1_000},
            (1_000, 0, 0, 20_000),
            id="Vercel, embeddings",
        ),
        pytest.param(
            {
                "langfuse.observation.type": "generation",
                "langfuse.observation.model.name": CLAUDE,
                "langfuse.observation.usage_details": '{"input": 10, "output": 50, "cache_read_input_tokens": 2000}',
            },
            (2_010, 50, 2_000, 10 * 3_000 + 2_000 * 300 + 50 * 15_000),
            id="Langfuse, its own names",
        ),
        pytest.param(
            {
                "langfuse.observation.type": "generation",
                "langfuse.observation.model.name": "gpt-4o",
                "langfuse.observation.usage_details": json.dumps(
                    {"input": 36, "output": 8, "total": 120, "input_cache_read": 64, "output_reasoning": 12}
                ),
            },
            (100, 20, 64, GPT_4O_NANO),
            id="Langfuse over LangChain",
        ),
        pytest.param(
            {
                "langfuse.observation.type": "generation",
                "langfuse.observation.model.name": "gpt-4o",
                "langfuse.observation.usage_details": json.dumps(
                    {"input": 0, "output": 0, "total": 120, "input_modality_TEXT": 36, "output_modality_TEXT": 20}
                    | {"cached_modality_TEXT": 64}
                ),
            },
            (100, 20, 0, 100 * 2_500 + 20 * 10_000),
            id="Langfuse over Vertex",
        ),
        pytest.param(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.system": "openai",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.response.model": "none",
                "gen_ai.usage.input_tokens": "100",
                "gen_ai.usage.output_tokens": "20",
                "gen_ai.usage.total_tokens": "120",
            },
            (100, 20, 0, 100 * 2_500 + 20 * 10_000),
            id="Spring AI, whose attributes are all texts",
        ),
        pytest.param(
            {
                "traceloop.span.kind": "task",
                "llm.request.type": "chat",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": 20,
            },
            (100, 20, 0, 100 * 2_500 + 20 * 10_000),
            id="OpenLLMetry over LlamaIndex",
        ),
    ],
)
def test_tokens_and_cost(attributes: dict[str, Any], told: tuple[int, ...]) -> None:
    [call] = calls(span(attributes))
    assert (call.tokens_in, call.tokens_out, call.cached_tokens, call.cost_nano) == told
    assert (call.price, call.usage) == (Price.LISTED, UsageFrom.REPORTED)


def test_what_langfuse_says_of_the_parts_of_a_cost_is_their_sum() -> None:
    [call] = calls(span(LANGFUSE | {"langfuse.observation.cost_details": '{"input": 0.25, "output": 0.5}'}))
    assert (call.cost_nano, call.price) == (750_000_000, Price.GIVEN)


WRAPPERS = [
    {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 100},
    {"gen_ai.operation.name": "execute_tool", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 100},
    {"gen_ai.operation.name": "agent_step", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 100},
    {"ai.operationId": "ai.streamText", "ai.model.id": "gpt-4o", "ai.usage.inputTokens": 100},
    {"ai.operationId": "ai.toolCall", "ai.model.id": "gpt-4o", "ai.usage.inputTokens": 100},
    {"openinference.span.kind": "AGENT", "llm.model_name": "gpt-4o", "llm.token_count.prompt": 100},
    {
        "langfuse.observation.type": "agent",
        "langfuse.observation.model.name": "gpt-4o",
        "langfuse.observation.usage_details": '{"input": 1}',
    },
    {"traceloop.span.kind": "workflow", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 100},
    # it doesn't say what it is: what is within it does
    {"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20},
]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("inner", [OPENINFERENCE, VERCEL, LANGFUSE])
def test_a_wrapper_is_no_call(wrapper: dict[str, Any], inner: dict[str, Any]) -> None:
    between = {"db.system": "sqlite"}
    [call] = calls(span(inner, 3, parent=2), span(between, 2, parent=1), span(wrapper, 1))
    assert call.tokens_out == 20
    assert call.event_id.endswith(f"{3:016x}")


@pytest.mark.parametrize("spans", [(SDK, OPENLLMETRY), (OPENLLMETRY, SDK)])
def test_two_spans_of_one_answer_in_two_traces_are_one_call(spans: tuple[dict[str, Any], ...]) -> None:
    one, other = (span(attributes, trace=letter * 32) for attributes, letter in zip(spans, "ab", strict=True))
    [call] = calls(one, other)
    assert (call.tokens_in, call.tokens_out, call.cost_nano) == (2_310, 50, SONNET_NANO)
    assert call.fingerprint.startswith("sha256:"), "of the span that tells what was asked"


def test_two_spans_of_one_answer_in_two_exports_are_counted_once() -> None:
    [one], [other] = calls(span(SDK)), calls(span(OPENLLMETRY, trace="b" * 32))
    now_ms = START_NS // 1_000_000 + 5_000
    counted = count(in_memory(), "ws", [one, other], now_ms, DEFAULT_POLICY)
    assert (counted.calls, counted.duplicates) == (1, 1)


def test_a_span_that_tells_no_usage_takes_no_other_spans_place() -> None:
    """Of one answer in two exports: the first instrumentation knows nothing of its cost (a plain stream)."""
    silent = {"gen_ai.operation.name": "chat", "gen_ai.request.model": CLAUDE, "gen_ai.response.id": MSG}
    [one], [other] = calls(span(silent)), calls(span(SDK, trace="b" * 32))
    state, now_ms = in_memory(), START_NS // 1_000_000 + 5_000
    count(state, "ws", [one, other], now_ms, DEFAULT_POLICY)
    assert sum(state.organization("ws").spent.days.values()) == SONNET_NANO
    assert len(calls(span(silent, 1), span(SDK, 2, trace="b" * 32))) == 1, "in one export they are one"


def test_answers_of_a_server_that_numbers_none_are_calls_of_their_own() -> None:
    found = calls(*(span(SDK | {"gen_ai.response.id": "chatcmpl-1"}, number) for number in (1, 2, 3)))
    assert len({call.event_id for call in found}) == 3


def test_a_call_within_a_call_that_has_another_answer_counts() -> None:
    inner = SDK | {"gen_ai.response.id": "msg_of_another_answer_of_all"}
    assert len(calls(span(SDK, 1), span(inner, 2, parent=1))) == 2


def test_only_the_outer_one_tells_usage() -> None:
    inner = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
    [call] = calls(span(inner, 2, parent=1), span(OPENINFERENCE, 1))
    assert (call.tokens_in, call.tokens_out) == (100, 20)


def test_spans_in_a_circle() -> None:
    assert len(calls(span(SDK, 1, parent=2), span({}, 2, parent=1))) == 1


ASKED = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}


@pytest.mark.parametrize(
    ("attributes", "status", "usage", "tokens"),
    [
        (ASKED, 200, UsageFrom.UNKNOWN, (0, 0)),
        (ASKED | {"error.type": "429"}, 429, UsageFrom.UNKNOWN, (0, 0)),
        (
            ASKED | {"http.response.status_code": 429, "gen_ai.prompt.0.content": "x" * 40},
            429,
            UsageFrom.UNKNOWN,
            (0, 0),
        ),
        (
            ASKED | {"gen_ai.prompt.0.content": "x" * 40, "gen_ai.completion.0.content": "y" * 12},
            200,
            UsageFrom.ESTIMATED,
            (10, 3),
        ),
        (
            ASKED | {"gen_ai.usage.input_tokens": 7, "gen_ai.completion.0.content": "y" * 12},
            200,
            UsageFrom.ESTIMATED,
            (7, 3),
        ),
        (ASKED | {"gen_ai.usage.input_tokens": 7, "gen_ai.usage.total_tokens": 9}, 200, UsageFrom.REPORTED, (7, 2)),
        (  # as Vercel's ai wrote it before version 5 where it knew none
            ASKED | {"ai.usage.promptTokens": math.nan, "ai.usage.completionTokens": math.nan, "ai.prompt": "x" * 40},
            200,
            UsageFrom.ESTIMATED,
            (10, 0),
        ),
    ],
)
def test_a_call_that_tells_no_usage_is_seen(
    attributes: dict[str, Any], status: int, usage: UsageFrom, tokens: tuple[int, int]
) -> None:
    [call] = calls(span(attributes))
    assert (call.status, call.usage, (call.tokens_in, call.tokens_out)) == (status, usage, tokens)


def test_a_loop_of_streams_without_usage_trips() -> None:
    asked = ASKED | {"gen_ai.input.messages": '[{"role": "user"}]'}
    found = calls(*(span(asked, number) for number in range(1, 6)))
    counted = count(in_memory(), "ws", found, START_NS // 1_000_000 + 5_000, DEFAULT_POLICY)
    assert [trip.layer for trip in counted.trips] == [Layer.DUMB_LOOP]


GOOD = {
    "traceId": "a" * 32,
    "spanId": "b" * 16,
    "startTimeUnixNano": str(START_NS),
    "attributes": [
        {"key": name, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for name, value in SDK.items()
    ],
}
OF_NO_CONCERN: list[Any] = [
    None,
    {},
    {"name": "GET /", "attributes": None, "status": None, "traceId": None},
    {
        "attributes": [
            {"key": "http.x", "value": {"intValue": "many"}},
            {"key": "y", "value": None},
            {"value": {}},
            None,
        ]
    },
    {"attributes": [{"key": "big", "value": {"intValue": 1e300}}, {"key": "a", "value": {"arrayValue": None}}]},
    {"startTimeUnixNano": "soon", "attributes": 7, "status": []},
    {"attributes": [{"key": "cut", "value": {"stringValue": "half \ud83d"}}]},
    {**GOOD, "spanId": "c" * 16, "endTimeUnixNano": 10**40},
    {
        **GOOD,
        "spanId": "c" * 16,
        "attributes": [
            *GOOD["attributes"],
            {"key": "gen_ai.prompt", "value": {"arrayValue": {"values": [{"intValue": "many"}]}}},
        ],
    },
    {
        **GOOD,
        "spanId": "c" * 16,
        "parentSpanId": None,
        "events": None,
        "attributes": [
            *GOOD["attributes"],
            {"key": "gen_ai.response.id", "value": {"stringValue": ""}},
            {"key": "http.request.header.x", "value": {"intValue": "x"}},
        ],
    },
]


def read(spans: list[Any]) -> tuple[int, list[str]]:
    groups = [None, {"resource": None, "scopeSpans": None}, {"scopeSpans": [None, {"scope": None, "spans": spans}]}]
    export = spans_of_json(json.dumps({"resourceSpans": groups}).encode())
    found = calls_of(export.spans, "key_1")
    return len(found.calls), [*export.errors, *found.errors]


@pytest.mark.parametrize("other", OF_NO_CONCERN)
def test_what_is_no_concern_of_ours_need_not_be_readable(other: Any) -> None:
    counted, faults = read([other, GOOD])
    assert (counted >= 1, faults) == (True, [])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (GOOD | {"traceId": None}, "traceId"),
        (GOOD | {"spanId": 7}, "spanId"),
        (GOOD | {"startTimeUnixNano": "soon"}, "startTimeUnixNano"),
        (GOOD | {"startTimeUnixNano": 1e300}, "startTimeUnixNano"),
        (
            GOOD
            | {
                "spanId": "d" * 16,
                "attributes": [
                    *GOOD["attributes"],
                    {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "many"}},
                    {"key": "gen_ai.response.id"},
                ],
            },
            "input_tokens",
        ),
        (7, "no object"),
    ],
)
def test_a_bad_span_is_rejected_alone(bad: Any, why: str) -> None:
    other = GOOD | {
        "spanId": "e" * 16,
        "attributes": [
            *GOOD["attributes"],
            {"key": "gen_ai.response.id", "value": {"stringValue": "msg_of_another_answer_of_all"}},
        ],
    }
    counted, faults = read([bad, other])
    assert counted == 1
    assert len(faults) == 1 and why in faults[0]


def test_half_a_character_costs_no_other_span_in_protobuf_either() -> None:
    """SDKs cut attributes at a number of UTF-16 units or bytes; protobuf's parser refuses all of the export for it."""
    export = ExportTraceServiceRequest()
    spans = export.resource_spans.add().scope_spans.add().spans
    for number, text in ((1, "whole"), (2, "BROKEN")):
        one = spans.add(trace_id=b"t" * 16, span_id=bytes([number]) * 8, start_time_unix_nano=START_NS)
        for name, value in (ASKED | {"gen_ai.prompt": text}).items():
            one.attributes.add(key=name).value.string_value = value
    [whole, broken] = spans_of_protobuf(export.SerializeToString().replace(b"BROKEN", b"cut \xed\xa0")).spans
    assert whole.attributes == ASKED | {"gen_ai.prompt": "whole"}
    assert broken.attributes.keys() == whole.attributes.keys() and "\ufffd" in broken.attributes["gen_ai.prompt"]
    assert len(calls(whole, broken)) == 2
