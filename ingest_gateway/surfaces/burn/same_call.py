"""Finds the spans that belong to the same model call, and keeps one span for each call.

One call can have several spans: an agent's, an SDK's and another instrumentation's. Nested spans are one call unless
they name different answers. Spans of the same answer are one call in any trace. Within an export, `each_once` keeps the
span with the most information. Across exports, the event id is made of the answer's id, so the guardrails count only
the first span.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from ingest_gateway.surfaces.burn import span_conventions as names
from ingest_gateway.surfaces.burn.otlp import Span

RESPONSE_ID_CHARACTERS_MIN = 16
"""Shorter ids of answers are not treated as unique: some servers give `chatcmpl-1` to every answer."""
EVENT_ID_MAX = 200
ANCESTORS_MAX = 64
_CARRIED_OVER = (names.PROMPT, names.SESSION, names.USER)


def each_once(calls: Sequence[Span], spans: Sequence[Span]) -> list[Span]:
    """`calls`: those of `spans` that are calls by themselves. What only the others of one call tell of its prompt,
    session and user goes over to the one that is taken."""
    taken: dict[str, Span] = {}
    for span in _without_nested(calls, spans):
        event_id = event_id_of(span) if span.span_id else f"\0{len(taken)}"  # it will be rejected
        before = taken.get(event_id)
        if before is None:
            taken[event_id] = span
        else:
            more, less = (span, before) if _told(span) > _told(before) else (before, span)
            taken[event_id] = _with_labels_of(more, less)
    return list(taken.values())


def event_id_of(span: Span) -> str:
    """A span that is exported again is the same event, and so is another span of the same answer."""
    answer = _response_id(span)
    if len(answer) >= RESPONSE_ID_CHARACTERS_MIN:
        return f"otlp:answer:{answer}"[:EVENT_ID_MAX]
    return own_event_id_of(span)


def own_event_id_of(span: Span) -> str:
    """The event id of a span without usage: the span must not replace a span with usage in a later export."""
    return f"otlp:{span.trace_id}:{span.span_id}"[:EVENT_ID_MAX]


def tells_usage(span: Span) -> bool:
    return any(name in span.attributes for name in names.USAGE)


def _without_nested(calls: Sequence[Span], spans: Sequence[Span]) -> list[Span]:
    """Of nested calls the innermost counts, unless only the outer one states usage."""
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
    """The nearest enclosing call that may be the same call."""
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


def _told(span: Span) -> int:
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
