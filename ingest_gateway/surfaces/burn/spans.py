"""Turns spans into model calls: which spans are calls (span_conventions.py), each call once (same_call.py), and the
costs."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from domain.guardrails.prices import cost_of, rates_of
from ingest_gateway.surfaces.burn import span_conventions as names
from ingest_gateway.surfaces.burn.edge.inspection import count_characters, estimate_tokens
from ingest_gateway.surfaces.burn.otlp import UNREADABLE, Attributes, Span
from ingest_gateway.surfaces.burn.same_call import each_once, event_id_of, own_event_id_of, tells_usage
from ingest_gateway.surfaces.burn.span_conventions import Role, role_of
from ingest_gateway.surfaces.burn.usage_conventions import COST_USD_MAX, Counts, dollars, read_counts, whole
from schemas.guardrail_policy import NANO_PER_USD
from schemas.telemetry import CallSource, ModelCall, Price, UsageFrom

SPANS_MAX = 10_000
TEXT_MAX = 200
TOKENS_MAX = 1_000_000_000
NOTHING = (None, "", "none")
"""Values that mean unknown; Micrometer (Spring AI) writes `none`."""


class SpanError(ValueError):
    """A span can't be read; the message says why."""


class Calls(NamedTuple):
    """The calls of one export. `errors`: one text for each span of a call that can't be read."""

    calls: list[ModelCall]
    errors: list[str]


def calls_of(spans: Sequence[Span], key_id: str) -> Calls:
    found = Calls([], [])
    for span in each_once([span for span in spans if is_model_call(span)], spans):
        try:
            found.calls.append(call_of_span(span, key_id))
        except SpanError as error:
            found.errors.append(f"{span.span_id or 'a span'}: {error}")
    return found


def is_model_call(span: Span) -> bool:
    """Whether the span is a model call. Spans of tools, agents and databases are not."""
    role = role_of(span.attributes)
    if role is Role.OTHER or _named(span.attributes, (*names.ASKED_MODEL, *names.ANSWERED_MODEL)) is None:
        return False
    return role is Role.CALL or tells_usage(span)


def _named(attributes: Attributes, wanted: Iterable[str]) -> str | None:
    return next((name for name in wanted if attributes.get(name) not in NOTHING), None)


# From a span to a call


def call_of_span(span: Span, key_id: str) -> ModelCall:
    """Raises SpanError."""
    attributes = span.attributes
    start_ms = span.start_ns // 1_000_000
    if not span.trace_id or not span.span_id or start_ms <= 0:
        raise SpanError("a span needs traceId, spanId and startTimeUnixNano")
    asked = _text(_first(attributes, names.ASKED_MODEL))
    answered = _text(_first(attributes, names.ANSWERED_MODEL)) or asked
    model, status = asked or answered, _status(span)
    counts, usage = _usage(span, status)
    cost_nano, price = _cost(attributes, answered if rates_of(answered) is not None else model, counts)
    return ModelCall(
        start_ms,
        _text(_first(attributes, names.PROVIDER)) or "unknown",
        model,
        status,
        counts.tokens_in or 0,
        counts.tokens_out or 0,
        cost_nano,
        _fingerprint(span, model),
        key_id=_text(attributes.get("atlasburn.key_id")) or key_id,
        endpoint=_text(_first(attributes, ("gen_ai.operation.name", "ai.operationId", "llm.request.type"))),
        latency_ms=max(0, (span.end_ns - span.start_ns) // 1_000_000),
        cached_tokens=counts.cached,
        event_id=own_event_id_of(span) if usage is UsageFrom.UNKNOWN else event_id_of(span),
        session_id=_text(_first(attributes, names.SESSION)),
        project=_text(_first(attributes, names.PROJECT) or _first(span.resource, names.PROJECT)),
        user=_text(_first(attributes, names.USER)),
        retry_count=_whole(attributes.get("http.request.resend_count", 0), "http.request.resend_count", 1_000_000),
        trace_id=span.trace_id[:TEXT_MAX],
        price=price,
        usage=usage,
        source=CallSource.OTLP,
        answered_model="" if answered == model else answered,
    )


def _usage(span: Span, status: int) -> tuple[Counts, UsageFrom]:
    """The usage that the span states; missing counts are estimated from its texts. A call without counts and texts
    costs nothing and still counts as a call. A failed call that states no usage has used nothing."""
    counts = _counts(span.attributes)
    if counts.tokens_in is not None and counts.tokens_out is not None:
        return counts, UsageFrom.REPORTED
    asked, answer = (_characters(span.attributes, some) for some in (names.PROMPT, names.ANSWER))
    is_told = counts != Counts()
    if not is_told and (status >= 400 or not asked + answer):
        return counts, UsageFrom.UNKNOWN
    told_in, told_out = counts.tokens_in, counts.tokens_out
    tokens_out = estimate_tokens(answer) if told_out is None else told_out
    tokens_in = estimate_tokens(asked) if told_in is None else told_in
    is_estimated = (told_in is None and asked > 0) or (told_out is None and answer > 0)
    estimated = counts._replace(tokens_in=tokens_in, tokens_out=tokens_out)
    return estimated, UsageFrom.ESTIMATED if is_estimated else UsageFrom.REPORTED


def _counts(attributes: Attributes) -> Counts:
    """Raises SpanError for a count that can't be read."""
    for name in names.USAGE_IN_JSON:
        counts = read_counts(_object(attributes.get(name)))
        if counts is not None:
            return counts.completed()
    counts = _anthropics_by_vercel(attributes)
    if counts is not None:
        return counts.completed()
    tokens_in, tokens_out, total, cached, written, written_long, reasoning = (
        _tokens(attributes, some)
        for some in (
            *(names.TOKENS_IN, names.TOKENS_OUT, names.TOTAL, names.CACHED, names.WRITTEN, names.WRITTEN_LONG),
            names.REASONING,
        )
    )
    written = max(written or 0, written_long or 0)
    cache = (cached or 0) + written
    if cache > (tokens_in or 0):  # counted separately from the input
        tokens_in = (tokens_in or 0) + cache
    if (reasoning or 0) > (tokens_out or 0):
        tokens_out = (tokens_out or 0) + (reasoning or 0)
    counts = Counts(tokens_in, tokens_out, total, cached or 0, written, written_long or 0)
    return counts.completed()


def _anthropics_by_vercel(attributes: Attributes) -> Counts | None:
    """Before version 6 the SDK's own counts leave out what Anthropic wrote into its cache and read from it."""
    metadata = _object(attributes.get(names.PROVIDER_METADATA))
    stated = metadata.get("anthropic") if isinstance(metadata, dict) else None
    if not isinstance(stated, dict):
        return None
    if isinstance(stated.get("usage"), dict):
        return read_counts(stated["usage"])
    cache = {name: stated.get(there) for name, there in names.ANTHROPICS_CACHE_BY_VERCEL.items()}
    if not any(map(whole, cache.values())):
        return None
    tokens = {
        "input_tokens": _tokens(attributes, names.TOKENS_IN),
        "output_tokens": _tokens(attributes, names.TOKENS_OUT),
    }
    return read_counts(tokens | cache)


def _object(text: Any) -> Any:
    try:
        return msgspec.json.decode(text) if isinstance(text, str) else text
    except (msgspec.DecodeError, RecursionError):
        return None


def _cost(attributes: Attributes, model: str, counts: Counts) -> tuple[int, Price]:
    given = _first(attributes, names.COST)
    if given is None:
        given = _cost_of_details(_object(_first(attributes, names.COST_IN_JSON)))
    if given is None:
        return cost_of(
            model,
            counts.tokens_in or 0,
            counts.tokens_out or 0,
            counts.cached,
            written_tokens=counts.written - counts.written_long,
            written_long_tokens=counts.written_long,
        )
    cost_usd = dollars(given)
    if cost_usd is None:
        raise SpanError(f"the cost is no number of US dollars from 0 to {COST_USD_MAX:,}")
    return round(cost_usd * NANO_PER_USD), Price.GIVEN


def _cost_of_details(details: Any) -> Any:
    """Of Langfuse's `{"input": 0.1, "output": 0.2, "total": 0.3}`; without a total it is their sum."""
    if not isinstance(details, dict):
        return None
    parts = [cost for name in details if (cost := dollars(details[name])) is not None]
    return details.get("total", sum(parts) if parts else None)


def _status(span: Span) -> int:
    status = _first(span.attributes, (*names.HTTP_STATUS, "error.type"))
    status = int(status) if isinstance(status, str) and status.isdecimal() and len(status) == 3 else status
    if isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599:
        return status
    return 500 if span.is_error or "error.type" in span.attributes else 200


def _fingerprint(span: Span, model: str) -> str:
    """A fingerprint of the prompt. A span without its prompt gets a fingerprint of its own, so that it can't look like
    a loop."""
    given = _text(span.attributes.get("atlasburn.fingerprint"))
    if given:
        return given
    asked = _texts(span.attributes, names.PROMPT)
    if not asked:
        return f"span:{span.trace_id}:{span.span_id}"[:TEXT_MAX]
    return "sha256:" + hashlib.sha256(msgspec.json.encode([model, *asked], enc_hook=repr)).hexdigest()


def _texts(attributes: Attributes, wanted: tuple[str, ...]) -> list[Any]:
    """The texts with these names, in the order of `wanted`, then those with flattened names."""
    whole = [attributes[name] for name in wanted if attributes.get(name, UNREADABLE) is not UNREADABLE]
    if whole:
        return whole
    starts = tuple(f"{name}." for name in wanted)
    flat = sorted(name for name in attributes if name.startswith(starts))
    return [attributes[name] for name in flat if attributes[name] is not UNREADABLE]


def _characters(attributes: Attributes, wanted: tuple[str, ...]) -> int:
    """The length of the first text that the span has: conventions write the same text under several names."""
    texts = _texts(attributes, wanted)
    found = texts if len(texts) > 1 and not any(name in attributes for name in wanted) else texts[:1]
    return count_characters([_object(text) or text for text in found])


def _tokens(attributes: Attributes, wanted: tuple[str, ...]) -> int | None:
    """The first count with a value: an SDK without a count may write NaN (Vercel's ai before version 5)."""
    name = next((name for name in wanted if name in attributes and not _is_nan(attributes[name])), None)
    return None if name is None else _whole(attributes[name], name, TOKENS_MAX)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _whole(value: Any, name: str, most: int) -> int:
    """A whole number, also written as text: Micrometer (Spring AI) writes every attribute as text."""
    number = whole(value)
    if number is None or number > most:
        raise SpanError(f"{name} is no number from 0 to {most:,}")
    return number


def _first(attributes: Attributes, wanted: Iterable[str]) -> Any:
    """The first attribute with a value. Raises SpanError for one that can't be read."""
    for name in wanted:
        if attributes.get(name) not in NOTHING:
            if attributes[name] is UNREADABLE:
                raise SpanError(f"{name} can't be read")
            return attributes[name]
    return None


def _text(value: Any) -> str:
    return "" if value is None or value is UNREADABLE else str(value)[:TEXT_MAX]
