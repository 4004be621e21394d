"""Calls whose limits an edge proxy may misread, so that they look cheaper than they can get."""

from typing import Any

CHAT = "/openai/v1/chat/completions"
COMPLETIONS = "/openai/v1/completions"
TALKED_DOWN: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"max_tokens": 200_000, "max_output_tokens": 0}),
    (CHAT, {"max_tokens": 200_000, "max_completion_tokens": 1}),
    (CHAT, {"max_tokens": "200000"}),
    (CHAT, {"max_tokens": 2e5}),
    (CHAT, {"max_tokens": 50_000, "n": "4"}),
    (COMPLETIONS, {"max_tokens": 50_000, "best_of": 4, "prompt": "hi"}),
    (COMPLETIONS, {"max_tokens": 50_000, "prompt": ["a", "b", "c", "d"]}),
]
"""Path and members of the body; each can cost as much as 200,000 tokens of output."""
