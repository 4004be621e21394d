"""The most that a call can cost, which a strict budget reserves before the call is made. Pure.

| part | counted as |
|---|---|
| prompt | a token for each byte of the body (no tokenizer makes more), at most the model's context for each prompt |
| images, audio in the body | `IMAGE_TOKENS` each (more in `original` detail); a token for 16 characters of base64 |
| what the body only refers to (a file, an earlier response or item, cached text), PDF, video | the model's context |
| tools that the provider runs (hosted_tools.py) | the model's context, for each prompt that they make |
| prompts that may be written into the provider's cache | the dearest of the model's prices for input |
| answer | the largest limit that the endpoint's own fields state × `n` or `best_of` × prompts; a predicted text too |
| no limit stated, or one that is no positive number | what the model can write |
| `n` or `best_of` that is no positive number | `CHOICES_MAX` |
| model | the most expensive one named; if none is, or an alias for others, the most expensive of the price list |

A member that is given twice counts with each of its values: providers' parsers differ in which they use. Numbers may be
written as text or with an exponent. If something can't be read at all, the call is `Unpriceable` and is not made.
"""

import json
import math
from typing import Any

from domain.guardrails.prices import MODELS, cost_of
from ingest_gateway.surfaces.burn.edge.endpoints import Dialect
from ingest_gateway.surfaces.burn.edge.hosted_tools import prompts_of_tools, typed_tools
from ingest_gateway.surfaces.burn.edge.model_limits import ModelLimits, limits_of
from ingest_gateway.surfaces.burn.edge.prompt_media import Members, image_tokens_of, media_in
from ingest_gateway.surfaces.burn.edge.providers import ProviderTarget

CHOICES_MAX = 128
TOOLS_TOKENS = 1_000
"""Tokens of the instructions that a provider adds for tools, and of each tool that it describes itself."""
TOKENS_MAX = 1 << 31
COST_MAX_NANO = 1 << 62
_OUTPUT_LIMITS = {
    "/chat/completions": ("max_tokens", "max_completion_tokens"),
    "/completions": ("max_tokens",),
    "/responses": ("max_output_tokens",),
    "/messages": ("max_tokens",),
}
_GEMINI_LIMITS = ("maxOutputTokens", "max_output_tokens")
_GEMINI_CHOICES = ("candidateCount", "candidate_count")
_CHOICES = {"/chat/completions": ("n",), "/completions": ("n", "best_of")}
_SEVERAL_PROMPTS = {"/completions": ("prompt",), "/embeddings": ("input",), ":batchEmbedContents": ("requests",)}
_WITHOUT_OUTPUT = frozenset({"/embeddings", ":embedContent", ":batchEmbedContents"})
_CACHES = ("cache_control", "prompt_cache_options", "prompt_cache_retention")
_ALIASES = ("openrouter/", "@preset/")


class Unpriceable(ValueError):
    """The message says what can't be priced, and what to send instead."""


def worst_cost_nano(body: bytes, target: ProviderTarget, dialect: Dialect) -> int:
    """The cost in billionths of a dollar. Raises Unpriceable."""
    asked = _members_of(body)
    if any(value is True for value in asked.get("background", ())):
        raise Unpriceable("What a response in the background costs is not in its answer: leave `background` out.")
    models = _models(asked, target)
    return min(COST_MAX_NANO, max(_of_model(model, asked, body, target, dialect) for model in models))


def _members_of(body: bytes) -> Members:
    try:
        asked = json.loads(body.decode(), object_pairs_hook=_gathered, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Unpriceable("The body is no JSON object in UTF-8.") from None
    if not isinstance(asked, dict):
        raise Unpriceable("The body is no JSON object.")
    return asked


def _gathered(pairs: list[tuple[str, Any]]) -> Members:
    members: Members = {}
    for name, value in pairs:
        members.setdefault(name, []).append(value)
    return members


def _no_number(name: str) -> None:
    raise ValueError(name)


def _models(asked: Members, target: ProviderTarget) -> list[str]:
    if target.model:
        return [target.model]
    named = [*asked.get("model", ())]
    for others in asked.get("models", ()):  # OpenRouter goes on to these
        named += others if isinstance(others, list) else [others]
    models = [model for model in named if isinstance(model, str) and model]
    if "preset" in asked or any(model.startswith(_ALIASES) for model in models):  # OpenRouter's, too
        return [*models, *MODELS]
    return models if models and len(models) == len(named) else [*models, *MODELS]


def _of_model(model: str, asked: Members, body: bytes, target: ProviderTarget, dialect: Dialect) -> int:
    limits = limits_of(model)
    prompts = _prompts(asked, target)
    of_tools = _prompts_of_tools(asked, dialect, target)
    tokens_in = _tokens_in(model, limits, asked, body, prompts, of_tools)
    tokens_out = 0 if target.endpoint in _WITHOUT_OUTPUT else _tokens_out(limits, asked, target, dialect) * prompts
    if dialect is Dialect.ANTHROPIC:  # whose limit may be each prompt's
        tokens_out *= max(1, of_tools)
    written = tokens_in if dialect is Dialect.OPENAI or _asks_to_cache(asked) else 0  # OpenAI's cache, unasked
    return cost_of(model, tokens_in, tokens_out, written_long_tokens=written).nano


def _asks_to_cache(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_asks_to_cache, value))
    return isinstance(value, dict) and any(name in _CACHES or _asks_to_cache(given) for name, given in value.items())


def _prompts_of_tools(asked: Members, dialect: Dialect, target: ProviderTarget) -> int:
    """Raises Unpriceable."""
    of_tools = prompts_of_tools(asked, dialect, target.endpoint)
    if of_tools is None:
        raise Unpriceable(
            "Nobody knows how often the provider's own tools read: state `max_tool_calls` (OpenAI) or `max_uses` of "
            "each (Anthropic), or leave them and `mcp_servers` out."
        )
    return of_tools


def _tokens_in(model: str, limits: ModelLimits, asked: Members, body: bytes, prompts: int, of_tools: int) -> int:
    media = list(media_in(asked, image_tokens_of(model)))
    tokens = len(body) - sum(one.characters for one in media) + sum(one.tokens for one in media)
    tokens += TOOLS_TOKENS * (1 + typed_tools(asked)) if "tools" in asked or "functions" in asked else 0
    most = limits.context * prompts
    if of_tools:
        return max(most, limits.context * of_tools)
    return most if any(one.is_open for one in media) else min(tokens, most)


def _tokens_out(limits: ModelLimits, asked: Members, target: ProviderTarget, dialect: Dialect) -> int:
    if dialect is Dialect.GEMINI:
        configured = [*_objects(asked, "generationConfig"), *_objects(asked, "generation_config")]
        stated = [value for one in configured for value in _values(one, _GEMINI_LIMITS)]
        choices = [value for one in configured for value in _values(one, _GEMINI_CHOICES)]
        return _largest(stated, limits.output) * _largest(choices, CHOICES_MAX, 1)
    endpoint = target.endpoint
    tokens = _largest(_values(asked, _OUTPUT_LIMITS.get(endpoint, ())), limits.output)
    thinking = [value for one in _objects(asked, "thinking") for value in _values(one, ("budget_tokens",))]
    tokens += _largest(thinking, limits.output, 0)
    tokens += sum(map(_text_bytes, asked.get("prediction", ())))  # what of it is not in the answer is billed as output
    return tokens * _largest(_values(asked, _CHOICES.get(endpoint, ())), CHOICES_MAX, 1)


def _prompts(asked: Members, target: ProviderTarget) -> int:
    """The number of prompts in one request: texts, or lists of tokens."""
    count = 1
    for value in _values(asked, _SEVERAL_PROMPTS.get(target.endpoint, ())):
        if isinstance(value, list) and not all(isinstance(item, int) for item in value):
            count = max(count, len(value))
    return count


def _values(members: Members, names: tuple[str, ...]) -> list[Any]:
    """null counts as not stated."""
    return [value for name in names for value in members.get(name, ()) if value is not None]


def _objects(members: Members, name: str) -> list[Members]:
    return [value for value in members.get(name, ()) if isinstance(value, dict)]


def _largest(stated: list[Any], otherwise: int, unstated: int | None = None) -> int:
    """`otherwise` replaces a value that is not a positive number; `unstated` replaces an absent one, if different."""
    if not stated:
        return otherwise if unstated is None else unstated
    return max(_number(value) or otherwise for value in stated)


def _number(value: Any) -> int | None:
    """None if it is not a positive number, written as a number or as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return min(TOKENS_MAX, math.ceil(number)) if number > 0 and not math.isinf(number) else None


def _text_bytes(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_text_bytes, value.values()))
    return sum(map(_text_bytes, value)) if isinstance(value, list) else len(str(value).encode("utf-8", "replace"))
