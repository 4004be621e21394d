"""Patterns of event types, as subscriptions have them, and which of many match a type. Pure.

A pattern is a type in which any segment may be `*`, and `*` stands for one or more segments wherever it stands:
`code.*`, `*.complete`, `code.*.complete`, `*` (S-016, X-43). All patterns of one tenant lie in one trie, so
an event costs what its own matches cost and not what the number of patterns is; the walk keeps a set of places, so no
pattern costs more than linear time (S12). The bounds below are what the worst of tenants can ask for.
"""

import re
from collections.abc import Iterable, Sequence

PATTERN_CHARACTERS_MAX = 128
PATTERN_SEGMENTS_MAX = 8
TYPE_SEGMENTS_MAX = 16
REMEMBERED_MAX = 1_000
ANY = "*"

_SEGMENT = re.compile(r"[a-z0-9_-]+")
NO_PATTERN = (
    "A pattern is an event type in which a whole segment may be *, such as code.*, *.complete or *; it has at most "
    f"{PATTERN_CHARACTERS_MAX} characters and {PATTERN_SEGMENTS_MAX} segments."
)


def is_pattern(text: str) -> bool:
    """Whether it is one that can match: a single segment without a star is no type (S-005)."""
    segments = text.split(".")
    if len(text) > PATTERN_CHARACTERS_MAX or len(segments) > PATTERN_SEGMENTS_MAX:
        return False
    if any(segment != ANY and _SEGMENT.fullmatch(segment) is None for segment in segments):
        return False
    return len(segments) > 1 or text == ANY


class _Node:
    """A place in the trie. `repeats`: it was reached by a star, which may take further segments."""

    __slots__ = ("children", "owners", "repeats", "star")

    def __init__(self, repeats: bool = False) -> None:
        self.children: dict[str, _Node] | None = None  # most places end a pattern, or have a star alone behind them
        self.star: _Node | None = None
        self.owners: tuple[str, ...] = ()
        self.repeats = repeats

    def step(self, segment: str) -> "_Node":
        """The node behind a segment of a pattern, made where it is missing."""
        if segment == ANY:
            if self.star is None:
                self.star = _Node(repeats=True)
            return self.star
        if self.children is None:
            self.children = {}
        child = self.children.get(segment)
        if child is None:
            child = self.children[segment] = _Node()
        return child


class PatternTrie:
    """The patterns of one tenant, each with its owners. It is made once and never changed; matches are remembered."""

    def __init__(self, patterns: Iterable[tuple[str, str]]) -> None:
        """`patterns`: pattern and owner, in any order; a pattern may have many owners and an owner many patterns."""
        self._root = _Node()
        self._remembered: dict[str, tuple[str, ...]] = {}
        for pattern, owner in patterns:
            node = self._root
            for segment in pattern.split("."):
                node = node.step(segment)
            node.owners += (owner,)

    def match(self, event_type: str) -> tuple[str, ...]:
        """Who owns a pattern that matches, each once, sorted."""
        found = self._remembered.get(event_type)
        if found is None:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            found = self._remembered[event_type] = self.walk(event_type.split("."))
        return found

    def walk(self, segments: Sequence[str]) -> tuple[str, ...]:
        """`match` without the memory."""
        places = {self._root: None}  # a dict keeps each place once, and the order
        for segment in segments:
            reached: dict[_Node, None] = {}
            for node in places:
                if node.children is not None and (child := node.children.get(segment)) is not None:
                    reached[child] = None
                if node.star is not None:
                    reached[node.star] = None
                if node.repeats:
                    reached[node] = None
            if not reached:
                return ()
            places = reached
        owners = {owner for node in places for owner in node.owners}
        return tuple(sorted(owners)) if owners else ()
