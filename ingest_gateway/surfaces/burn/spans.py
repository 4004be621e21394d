"""OTLP's export request, JSON or protobuf, as spans with plain attributes; and a GenAI span as a call of a model. Pure.

Sources: OpenTelemetry's OTLP specification (JSON: ids in hexadecimal, 64-bit integers as strings, unknown members
ignored) and its semantic conventions for generative AI, with the names of earlier versions beside today's.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from schemas.burn import ModelCall, Price, Source, UsageFrom
from schemas.guardrail_policy import NANO_PER_USD
from schemas.prices import cost_of

SPANS_MAX = 10_000
TEXT_MAX = 200
TOKENS_MAX = 1_000_000_000
STATUS_ERROR = 2
Attributes = dict[str, Any]


class Span(NamedTuple):
    trace_id: str
    span_id: str
    start_ns: int
    end_ns: int
    is_error: bool
    attributes: Attributes
    resource: Attributes


class SpanFault(ValueError):
    """The message says what is wrong with the export, or with one span."""


# Reading


def spans_of_protobuf(body: bytes) -> list[Span]:
    """Raises SpanFault."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    export = ExportTraceServiceRequest()
    try:
        export.ParseFromString(body)
    except DecodeError:
        raise SpanFault("The body is not an ExportTraceServiceRequest in protobuf.") from None
    return [
        Span(
            span.trace_id.hex(),
            span.span_id.hex(),
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.code == STATUS_ERROR,
            _protobuf_attributes(span.attributes),
            _protobuf_attributes(group.resource.attributes),
        )
        for group in export.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _protobuf_attributes(pairs: Iterable[Any]) -> Attributes:
    found: Attributes = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        if kind in ("string_value", "bool_value", "int_value", "double_value"):
            found[pair.key] = getattr(pair.value, kind)
        elif kind == "array_value":
            items = [one.WhichOneof("value") for one in pair.value.array_value.values]
            found[pair.key] = [
                getattr(one, name) for one, name in zip(pair.value.array_value.values, items, strict=True) if name
            ]
    return found


class _Status(msgspec.Struct):
    code: int | str = 0


class _JsonSpan(msgspec.Struct, rename="camel"):
    trace_id: str
    span_id: str
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[dict[str, Any]] = []
    status: _Status = msgspec.field(default_factory=_Status)


class _Scope(msgspec.Struct):
    spans: list[_JsonSpan] = []


class _Resource(msgspec.Struct):
    attributes: list[dict[str, Any]] = []


class _Group(msgspec.Struct, rename="camel"):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    scope_spans: list[_Scope] = []


class _Export(msgspec.Struct, rename="camel"):
    resource_spans: list[_Group] = []


_export = msgspec.json.Decoder(_Export).decode


def spans_of_json(body: bytes) -> list[Span]:
    """Raises SpanFault."""
    try:
        export = _export(body)
        return [
            Span(
                span.trace_id.lower(),
                span.span_id.lower(),
                int(span.start_time_unix_nano),
                int(span.end_time_unix_nano),
                span.status.code in (STATUS_ERROR, "STATUS_CODE_ERROR"),
                _json_attributes(span.attributes),
                _json_attributes(group.resource.attributes),
            )
            for group in export.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]
    except (msgspec.DecodeError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise SpanFault(f"The body is not an ExportTraceServiceRequest in JSON: {error}") from None


def _json_attributes(pairs: Iterable[Mapping[str, Any]]) -> Attributes:
    found: Attributes = {}
    for pair in pairs:
        value = _json_value(pair.get("value") or {})
        if value is not None:
            found[str(pair["key"])] = value
    return found


def _json_value(value: Mapping[str, Any]) -> Any:
    if "intValue" in value:
        return int(value["intValue"])
    if "arrayValue" in value:
        return [_json_value(one) for one in value["arrayValue"].get("values", [])]
    return next((value[kind] for kind in ("stringValue", "boolValue", "doubleValue") if kind in value), None)


# From a span to a call

PROVIDER = ("gen_ai.provider.name", "gen_ai.system")
REQUEST_MODEL = "gen_ai.request.model"
MODEL = ("gen_ai.response.model", REQUEST_MODEL)
TOKENS_IN = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
TOKENS_OUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
CACHED = ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cached_tokens")
PROMPT = ("gen_ai.input.messages", "gen_ai.prompt", "gen_ai.system_instructions", "gen_ai.tool.definitions")
SESSION = ("atlasburn.session_id", "gen_ai.conversation.id", "session.id")
USER = ("atlasburn.user", "enduser.id", "user.id")
PROJECT = ("atlasburn.project", "service.name")


def is_model_call(span: Span) -> bool:
    """Others (of tools, agents, databases) are no concern of ours."""
    attributes = span.attributes
    return _first(attributes, MODEL) is not None and any(name in attributes for name in (*TOKENS_IN, *TOKENS_OUT))


def call_of_span(span: Span, key_id: str) -> ModelCall:
    """Raises SpanFault. A span that is exported again is the same event."""
    attributes = span.attributes
    start_ms = span.start_ns // 1_000_000
    if not span.trace_id or not span.span_id or start_ms <= 0:
        raise SpanFault("a span needs traceId, spanId and startTimeUnixNano")
    answered = _text(_first(attributes, MODEL))
    model = _text(attributes.get(REQUEST_MODEL)) or answered
    tokens_in, tokens_out, cached = (_tokens(attributes, names) for names in (TOKENS_IN, TOKENS_OUT, CACHED))
    cost_nano, price = _cost(attributes, answered, tokens_in, tokens_out, cached)
    return ModelCall(
        start_ms,
        _text(_first(attributes, PROVIDER)) or "unknown",
        model,
        _status(span),
        tokens_in,
        tokens_out,
        cost_nano,
        _fingerprint(span, model),
        key_id=_text(attributes.get("atlasburn.key_id")) or key_id,
        endpoint=_text(attributes.get("gen_ai.operation.name")),
        latency_ms=max(0, (span.end_ns - span.start_ns) // 1_000_000),
        cached_tokens=cached,
        event_id=f"otlp:{span.trace_id}:{span.span_id}"[:TEXT_MAX],
        session_id=_text(_first(attributes, SESSION)),
        project=_text(_first(attributes, PROJECT) or _first(span.resource, PROJECT)),
        user=_text(_first(attributes, USER)),
        retry_count=_whole(attributes.get("http.request.resend_count", 0), "http.request.resend_count", 1_000_000),
        trace_id=span.trace_id[:TEXT_MAX],
        price=price,
        usage=UsageFrom.REPORTED,
        source=Source.OTLP,
        answered_model="" if answered == model else answered,
    )


def _cost(attributes: Attributes, model: str, tokens_in: int, tokens_out: int, cached: int) -> tuple[int, Price]:
    given = attributes.get("gen_ai.usage.cost", attributes.get("atlasburn.cost_usd"))
    if given is None:
        return cost_of(model, tokens_in, tokens_out, cached)
    if not isinstance(given, int | float) or isinstance(given, bool) or not 0 <= given <= 1_000_000:
        raise SpanFault("the cost is no number of US dollars from 0 to 1,000,000")
    return round(given * NANO_PER_USD), Price.GIVEN


def _status(span: Span) -> int:
    status = span.attributes.get("http.response.status_code")
    if isinstance(status, int) and 100 <= status <= 599:
        return status
    return 500 if span.is_error or "error.type" in span.attributes else 200


def _fingerprint(span: Span, model: str) -> str:
    """Of what was asked, where the span tells; else each span is its own, so that it is no loop."""
    given = _text(span.attributes.get("atlasburn.fingerprint"))
    if given:
        return given
    asked = [span.attributes[name] for name in PROMPT if name in span.attributes]
    if not asked:
        return f"span:{span.trace_id}:{span.span_id}"[:TEXT_MAX]
    return "sha256:" + hashlib.sha256(msgspec.json.encode([model, *asked])).hexdigest()


def _tokens(attributes: Attributes, names: tuple[str, ...]) -> int:
    return _whole(_first(attributes, names) or 0, names[0], TOKENS_MAX)


def _whole(value: Any, name: str, most: int) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not 0 <= value <= most or value != int(value):
        raise SpanFault(f"{name} is no whole number from 0 to {most:,}")
    return int(value)


def _first(attributes: Attributes, names: tuple[str, ...]) -> Any:
    return next((attributes[name] for name in names if name in attributes), None)


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:TEXT_MAX]


def model_calls(spans: Iterable[Span]) -> Iterator[Span]:
    return (span for span in spans if is_model_call(span))
