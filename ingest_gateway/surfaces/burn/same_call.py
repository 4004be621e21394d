"""Finds the spans that belong to the same model call, and keeps one span for each call.

A call may appear in several spans: of the agent that makes it, of an SDK, of another instrumentation. Two call spans,
one inside the other, are one call unless they name two answers. Spans of the same answer are one call, in any trace.
Within an export `each_once` takes the span with the most details. Across exports the event id, which is derived from
the answer's id, makes the guardrails count the first span only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from ingest_gateway.surfaces.burn import span_conventions as names
from ingest_gateway.surfaces.burn.otlp import Span

RESPONSE_ID_CHARACTERS_MIN = 16
"""A shorter answer id is not assumed to be unique: some servers give `chatcmpl-1` to every answer."""
EVENT_ID_MAX = 200
ANCESTORS_MAX = 64
_CARRIED_OVER = (names.PROMPT, names.SESSION, names.USER)


def each_once(calls: Sequence[Span], spans: Sequence[Span]) -> list[Span]:
    """`calls`: the spans that are calls by themselves. The span that is taken gets the prompt, session and user from
    the call's other spans if it has none itself.
    """
    taken: dict[str, Span] = {}
    for span in _without_nested(calls, spans):
        event_id = event_id_of(span) if span.span_id else f"\0{len(taken)}"  # it will be rejected
        before = taken.get(event_id)
        if before is None:
            taken[event_id] = span
        else:
            more, less = (span, before) if _completeness(span) > _completeness(before) else (before, span)
            taken[event_id] = _with_labels_of(more, less)
    return list(taken.values())


def event_id_of(span: Span) -> str:
    """A span that is exported again is the same event, and so is another span of the same answer."""
    answer = _response_id(span)
    if len(answer) >= RESPONSE_ID_CHARACTERS_MIN:
        return f"otlp:answer:{answer}"[:EVENT_ID_MAX]
    return own_event_id_of(span)


def own_event_id_of(span: Span) -> str:
    """The event id of a span without usage: it must not replace a span with usage in a later export."""
    return f"otlp:{span.trace_id}:{span.span_id}"[:EVENT_ID_MAX]


def tells_usage(span: Span) -> bool:
    return any(name in span.attributes for name in names.USAGE)


def _without_nested(calls: Sequence[Span], spans: Sequence[Span]) -> list[Span]:
    """The innermost span counts, unless only the outer one has usage."""
    parents = {(span.trace_id, span.span_id): span.parent_id for span in spans if span.span_id}
    by_id = {(span.trace_id, span.span_id): span for span in calls if span.span_id}
    outer_of = {id(inner): outer for inner in calls if (outer := _outer_call(inner, parents, by_id)) is not None}
    within = Counter(id(outer) for outer in outer_of.values())
    dropped: set[int] = set()
    labels_from: dict[int, Span] = {}
    for inner in calls:
        outer = outer_of.get(id(inner))
        if outer is not None:
            kept, gone = (inner, outer) if tells_usage(inner) or not tells_usage(outer) else (outer, inner)
            dropped.add(id(gone))
            if within[id(outer)] == 1:
                labels_from[id(kept)] = gone
    return [
        _with_labels_of(span, labels_from[id(span)]) if id(span) in labels_from else span
        for span in calls
        if id(span) not in dropped
    ]


def _outer_call(
    inner: Span, parents: Mapping[tuple[str, str], str], calls: Mapping[tuple[str, str], Span]
) -> Span | None:
    """The nearest enclosing call that may be the same one."""
    at = inner.parent_id
    for _ in range(ANCESTORS_MAX):
        found = calls.get((inner.trace_id, at))
        if found is not None:
            return None if found is inner or _are_two_answers(found, inner) else found
        at = parents.get((inner.trace_id, at), "")
        if not at:
            return None
    return None


def _are_two_answers(one: Span, other: Span) -> bool:
    ids = {_response_id(one), _response_id(other)}
    return len(ids) == 2 and "" not in ids


def _response_id(span: Span) -> str:
    found = (span.attributes.get(name) for name in names.RESPONSE_ID)
    return next((value for value in found if isinstance(value, str) and value), "")


def _completeness(span: Span) -> int:
    groups = (names.TOKENS_IN, names.TOKENS_OUT, names.WRITTEN_LONG)
    return sum(any(name in span.attributes for name in group) for group in groups)


def _with_labels_of(span: Span, other: Span) -> Span:
    more = {}
    for group in _CARRIED_OVER:
        if not _of_group(span, group):
            more.update({name: other.attributes[name] for name in _of_group(other, group)})
    return span._replace(attributes={**span.attributes, **more}) if more else span


def _of_group(span: Span, group: tuple[str, ...]) -> list[str]:
    starts = tuple(f"{name}." for name in group)
    return [name for name in span.attributes if name in group or name.startswith(starts)]
