"""Patterns of event types: what they are, what they match, and that the trie finds what trying each one would."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.entities.patterns import PATTERN_SEGMENTS_MAX, TYPE_SEGMENTS_MAX, PatternTrie, is_pattern

SEGMENTS = st.sampled_from(["a", "b", "code", "multi-agent", "x_1"])
TYPES = st.lists(SEGMENTS, min_size=2, max_size=6).map(".".join)
PATTERNS = st.lists(SEGMENTS | st.just("*"), min_size=2, max_size=5).map(".".join) | st.just("*")


def matches(pattern: str, event_type: str) -> bool:
    return bool(PatternTrie([(pattern, "")]).match(event_type))


@pytest.mark.requirement("S-016", "X-43")
@pytest.mark.parametrize(
    ("pattern", "matched", "not_matched"),
    [
        ("code.*", ["code.analysis.complete", "code.upload"], ["code", "codes.upload", "a.code.upload"]),
        ("*.complete", ["code.analysis.complete", "a.complete"], ["complete", "a.complete.b"]),
        ("code.*.complete", ["code.a.complete", "code.a.b.complete"], ["code.complete"]),
        ("*", ["a.b", "code.analysis.complete"], []),
        ("*.*", ["a.b", "a.b.c"], ["a"]),
        ("review.multi-agent.complete", ["review.multi-agent.complete"], ["review.multi-agent", "review.x.complete"]),
    ],
)
def test_a_star_stands_for_one_segment_or_more(pattern: str, matched: list[str], not_matched: list[str]) -> None:
    assert is_pattern(pattern)
    assert [kind for kind in matched + not_matched if matches(pattern, kind)] == matched


@pytest.mark.requirement("S9", "S12", "S-016")
@pytest.mark.parametrize(
    "text",
    [
        *("", "code", ".", "a.", ".a", "a..b", "a.*b", "a.b*", "**", "a.**", "%", "a.%", "a.?", "A.b", "a.b\n", "é.b"),
        *("(a+)+$", "a.(b|c)", "a.[b]", "'; drop", "a." + "b" * 127, ".".join(["*"] * (PATTERN_SEGMENTS_MAX + 1))),
    ],
)
def test_other_uses_of_a_star_and_what_can_match_nothing_are_no_patterns(text: str) -> None:
    assert not is_pattern(text)


@given(st.lists(st.tuples(PATTERNS, st.sampled_from(["one", "two", "three"])), max_size=12), TYPES)
def test_the_trie_finds_what_trying_each_pattern_would(patterns: list[tuple[str, str]], kind: str) -> None:
    trie = PatternTrie(patterns)
    expected = sorted({owner for pattern, owner in patterns if _regex(pattern).fullmatch(kind)})
    assert list(trie.match(kind)) == expected
    assert list(trie.match(kind)) == expected  # as it is remembered


def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(
        r"\.".join(r"[^.]+(?:\.[^.]+)*" if part == "*" else re.escape(part) for part in pattern.split("."))
    )


@pytest.mark.requirement("S12")
def test_the_worst_patterns_of_a_tenant_cost_linear_time() -> None:
    """What would take a backtracking matcher 2^16 steps: as many places as the trie has, at most, a segment."""
    worst = [(".".join(("*.a" * 4)[: n * 2 + 1].rstrip(".").split(".")), f"sub_{n}") for n in range(4)]
    worst += [("a." + ".".join(["*", "a"] * 3), "sub_x"), (".".join(["*"] * 8), "sub_y")]
    trie = PatternTrie([(pattern, owner) for pattern, owner in worst if is_pattern(pattern)])
    segments = ["a"] * (TYPE_SEGMENTS_MAX - 1) + ["b"]
    steps = 200
    began = time.perf_counter()
    for _ in range(steps):
        trie.walk(segments)
    assert (time.perf_counter() - began) / steps < 0.01  # some 20 µs; an exponential one would not end
