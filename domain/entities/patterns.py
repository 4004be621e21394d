"""Subscriptions' patterns of event types, and a trie that finds those that match a type.

A pattern is a type in which any segment may be `*`, and `*` matches one or more segments, anywhere in the pattern:
`code.*`, `*.complete`, `code.*.complete`, `*` (S-016, X-43). All patterns of one tenant are in one trie,
so the cost of an event depends on its matches, not on the number of patterns. The walk keeps a set of nodes, so no
pattern costs more than linear time (S12). The bounds below limit what one tenant can cost.
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
    """Whether the pattern can match a type: a type has more than one segment (S-005)."""
    segments = text.split(".")
    if len(text) > PATTERN_CHARACTERS_MAX or len(segments) > PATTERN_SEGMENTS_MAX:
        return False
    if any(segment != ANY and _SEGMENT.fullmatch(segment) is None for segment in segments):
        return False
    return len(segments) > 1 or text == ANY


class _Node:
    """A node of the trie. `repeats`: a star led to it and may match further segments."""

    __slots__ = ("children", "owners", "repeats", "star")

    def __init__(self, repeats: bool = False) -> None:
        self.children: dict[str, _Node] | None = None  # most nodes end a pattern, or only a star follows
        self.star: _Node | None = None
        self.owners: tuple[str, ...] = ()
        self.repeats = repeats

    def step(self, segment: str) -> "_Node":
        """The node behind a segment of a pattern; a missing node is created."""
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
    """The patterns of one tenant, each with its owners. The patterns never change; matches are remembered."""

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
        """The owners of the patterns that match, each once, sorted."""
        found = self._remembered.get(event_type)
        if found is None:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            found = self._remembered[event_type] = self.walk(event_type.split("."))
        return found

    def walk(self, segments: Sequence[str]) -> tuple[str, ...]:
        """`match` without the memory."""
        nodes = {self._root: None}  # a dict keeps each node once, and the order
        for segment in segments:
            reached: dict[_Node, None] = {}
            for node in nodes:
                if node.children is not None and (child := node.children.get(segment)) is not None:
                    reached[child] = None
                if node.star is not None:
                    reached[node.star] = None
                if node.repeats:
                    reached[node] = None
            if not reached:
                return ()
            nodes = reached
        owners = {owner for node in nodes for owner in node.owners}
        return tuple(sorted(owners)) if owners else ()
