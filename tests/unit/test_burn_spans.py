"""OTLP spans as model calls: both encodings say the same; what is no model call passes unseen; bad ones are named."""

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ingest_gateway.surfaces.burn.otlp import Export, ExportError, Span, spans_of_json, spans_of_protobuf
from ingest_gateway.surfaces.burn.spans import SpanError, call_of_span, is_model_call
from schemas.telemetry import CallSource, Price

TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
ATTRIBUTES: dict[str, Any] = {
    "gen_ai.provider.name": "openai",
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 142,
    "gen_ai.usage.output_tokens": 318,
    "gen_ai.conversation.id": "c-1",
}


def a_span(is_error: bool = False, **attributes: Any) -> Span:
    """`attributes` with `__` for a dot; None takes one away."""
    changes = {name.replace("__", "."): value for name, value in attributes.items()}
    found = {name: value for name, value in (ATTRIBUTES | changes).items() if value is not None}
    start_ns = 1_779_107_696_789_000_000
    return Span(TRACE, SPAN, start_ns, start_ns + 612_000_000, is_error, found, {"service.name": "bot"})


def call(span: Span) -> Any:
    return call_of_span(span, "key_1")


def in_json() -> bytes:
    def value(of: Any) -> dict[str, Any]:
        return {"intValue": str(of)} if isinstance(of, int) else {"stringValue": of}

    span = {
        "traceId": TRACE.upper(),
        "spanId": SPAN,
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": "1779107696789000000",
        "endTimeUnixNano": "1779107697401000000",
        "attributes": [{"key": key, "value": value(of)} for key, of in ATTRIBUTES.items()],
        "status": {"code": 1},
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "bot"}}]}
    group = {"resource": resource, "scopeSpans": [{"scope": {}, "spans": [span]}]}
    return json.dumps({"resourceSpans": [group]}).encode()


def in_protobuf() -> bytes:
    export = ExportTraceServiceRequest()
    group = export.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "bot"
    span = group.scope_spans.add().spans.add(
        trace_id=bytes.fromhex(TRACE),
        span_id=bytes.fromhex(SPAN),
        start_time_unix_nano=1_779_107_696_789_000_000,
        end_time_unix_nano=1_779_107_697_401_000_000,
    )
    for key, of in ATTRIBUTES.items():
        value = span.attributes.add(key=key).value
        if isinstance(of, int):
            value.int_value = of
        else:
            value.string_value = of
    return export.SerializeToString()


def test_both_encodings_are_the_same_span() -> None:
    assert spans_of_json(in_json()) == spans_of_protobuf(in_protobuf()) == Export([a_span()], [])


def test_a_span_is_a_call() -> None:
    found = call(a_span())
    assert (found.provider, found.model, found.tokens_in, found.tokens_out) == ("openai", "gpt-4o-mini", 142, 318)
    assert (found.ts_ms, found.latency_ms, found.status) == (1_779_107_696_789, 612, 200)
    assert (found.session_id, found.project, found.key_id) == ("c-1", "bot", "key_1")
    assert (found.event_id, found.trace_id, found.source) == (f"otlp:{TRACE}:{SPAN}", TRACE, CallSource.OTLP)
    assert (found.cost_nano, found.price) == (212_100, Price.LISTED)


@pytest.mark.parametrize(
    ("span", "field", "value"),
    [
        (a_span(gen_ai__provider__name=None, gen_ai__system="anthropic"), "provider", "anthropic"),
        (a_span(gen_ai__response__model="gpt-4o-2024-08-06"), "model", "gpt-4o-mini"),
        (a_span(gen_ai__response__model="gpt-4o-2024-08-06"), "answered_model", "gpt-4o-2024-08-06"),
        (a_span(gen_ai__request__model=None, gen_ai__response__model="gpt-4o"), "model", "gpt-4o"),
        (a_span(gen_ai__usage__input_tokens=None, gen_ai__usage__prompt_tokens=7), "tokens_in", 7),
        (a_span(error__type="timeout"), "status", 500),
        (a_span(is_error=True), "status", 500),
        (a_span(is_error=True, http__response__status_code=429), "status", 429),
        (a_span(gen_ai__usage__cost=0.5), "cost_nano", 500_000_000),
        (a_span(atlasburn__fingerprint="sha256:b9c1..."), "fingerprint", "sha256:b9c1..."),
        (a_span(http__request__resend_count=3), "retry_count", 3),
    ],
)
def test_names_of_the_conventions_of_then_and_now(span: Span, field: str, value: Any) -> None:
    assert getattr(call(span), field) == value


def test_a_fingerprint_is_of_what_was_asked_else_of_the_span_alone() -> None:
    asked = [call(a_span(gen_ai__input__messages=text)).fingerprint for text in ("hi", "hi", "ho")]
    assert asked[0] == asked[1] != asked[2]
    unknown = call(a_span()).fingerprint
    assert unknown == f"span:{TRACE}:{SPAN}"


def test_other_spans_pass_unseen() -> None:
    tool = Span(TRACE, SPAN, 1, 2, False, {"gen_ai.tool.name": "search"}, {})
    agent = Span(TRACE, SPAN, 1, 2, False, {"gen_ai.request.model": "gpt-4o"}, {})
    assert [is_model_call(span) for span in (tool, agent, a_span())] == [False, False, True]


@pytest.mark.requirement("S11")
@pytest.mark.parametrize(
    "span",
    [
        a_span(gen_ai__usage__input_tokens=-1),
        a_span(gen_ai__usage__input_tokens="nan"),
        a_span(gen_ai__usage__input_tokens=10**400),
        a_span(gen_ai__usage__output_tokens="many"),
        a_span(gen_ai__usage__output_tokens=10**18),
        a_span(gen_ai__usage__cost=float("nan")),
        a_span(gen_ai__usage__cost=-1.0),
        a_span(gen_ai__usage__cost=float("inf")),
        a_span()._replace(start_ns=0),
        a_span()._replace(trace_id=""),
    ],
)
def test_a_span_that_can_be_no_call_is_rejected(span: Span) -> None:
    with pytest.raises(SpanError):
        call(span)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"[]",
        b'{"resourceSpans": 7}',
    ],
)
def test_json_that_is_no_export(body: bytes) -> None:
    with pytest.raises(ExportError):
        spans_of_json(body)


def test_bytes_that_are_no_export() -> None:
    with pytest.raises(ExportError):
        spans_of_protobuf(b"\xff\xff\xff\xff")
