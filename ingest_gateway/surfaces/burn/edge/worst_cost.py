"""The most that a call can cost, which a strict budget sets aside before the call is made. Pure.

| part | taken as |
|---|---|
| prompt | a token for each byte of the body (no tokenizer makes more of it), at most the model's context a prompt |
| images, audio in the body | `IMAGE_TOKENS` each (more in `original` detail); a token for 16 characters of base64 |
| what the body only refers to (a file, an earlier response or item, cached text), PDF, video | the model's context |
| tools that the provider runs (hosted_tools.py) | the model's context, for each prompt that they make |
| prompts that may be written into the provider's cache | the dearest of the model's prices for input |
| answer | the largest limit that the endpoint's own fields state × `n` or `best_of` × prompts; a predicted text too |
| no limit stated, or one that is no positive number | what the model can write |
| `n` or `best_of` that is no positive number | `CHOICES_MAX` |
| model | the dearest of those named; where none is, or one that stands for others, the dearest of the price list |

A member that is given twice counts with each of its values: providers' parsers differ in which they take. Numbers may
be written as text or with an exponent. What can't be read at all is `Unpriceable`, and the call is not made.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ingest_gateway.surfaces.burn.edge.endpoints import Dialect
from ingest_gateway.surfaces.burn.edge.hosted_tools import prompts_of_tools, typed_tools
from ingest_gateway.surfaces.burn.edge.model_limits import ModelLimits, limits_of
from ingest_gateway.surfaces.burn.edge.providers import Target
from schemas.prices import MODELS, cost_of

CHOICES_MAX = 128
IMAGE_TOKENS, IMAGE_TOKENS_OF_4O_MINI, IMAGE_TOKENS_IN_ORIGINAL_DETAIL = 5_000, 50_000, 25_000
BASE64_CHARACTERS_AN_AUDIO_TOKEN = 16
TOOLS_TOKENS = 1_000
"""Of the instructions that a provider puts before a prompt with tools, and of each tool that it describes itself."""
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
_REFERENCES = frozenset(
    {
        *("file_id", "file_url", "fileData", "file_uri", "fileUri", "previous_response_id", "conversation"),
        *("cachedContent", "cached_content", "container", "mcp_servers", "file_data"),
        *("document_url", "video_url", "input_video", "audio_url"),  # Mistral, OpenRouter, vLLM
    }
)
_TEXT_WHATEVER_IT_HOLDS = frozenset(
    {
        "args",
        "arguments",
        "response",
        "parameters",
        "input_schema",
        "schema",
        "properties",
        "metadata",
        "input_examples",
    }
)
"""What tools are given and give back, and how they are described: models read it as text."""
_DATA = frozenset({"source", "inlineData", "inline_data", "input_audio"})
_CACHES = ("cache_control", "prompt_cache_options", "prompt_cache_retention")
_STANDS_FOR_OTHERS = ("openrouter/", "@preset/")
_MEDIA_TYPES = ("media_type", "mime_type", "mimeType")

Members = dict[str, list[Any]]
"""An object as it was sent: each name with all the values it was given."""


class Unpriceable(ValueError):
    """The message says what can't be priced, and what to send instead."""


class _Media(NamedTuple):
    """What of a body is no text: how many characters, how many tokens at most; `is_open`: nobody can say."""

    characters: int = 0
    tokens: int = 0
    is_open: bool = False


def worst_cost_nano(body: bytes, target: Target, dialect: Dialect) -> int:
    """In billionths of a dollar. Raises Unpriceable."""
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


def _models(asked: Members, target: Target) -> list[str]:
    if target.model:
        return [target.model]
    named = [*asked.get("model", ())]
    for others in asked.get("models", ()):  # OpenRouter goes on to these
        named += others if isinstance(others, list) else [others]
    models = [model for model in named if isinstance(model, str) and model]
    if "preset" in asked or any(model.startswith(_STANDS_FOR_OTHERS) for model in models):  # OpenRouter's, too
        return [*models, *MODELS]
    return models if models and len(models) == len(named) else [*models, *MODELS]


def _of_model(model: str, asked: Members, body: bytes, target: Target, dialect: Dialect) -> int:
    limits = limits_of(model)
    prompts = _prompts(asked, target)
    tokens_in = _tokens_in(model, limits, asked, body, prompts, dialect)
    tokens_out = 0 if target.endpoint in _WITHOUT_OUTPUT else _tokens_out(limits, asked, target, dialect) * prompts
    written = tokens_in if dialect is Dialect.OPENAI or _asks_to_cache(asked) else 0  # OpenAI's cache, unasked
    return cost_of(model, tokens_in, tokens_out, written_long_tokens=written).nano


def _asks_to_cache(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_asks_to_cache, value))
    return isinstance(value, dict) and any(name in _CACHES or _asks_to_cache(given) for name, given in value.items())


def _tokens_in(model: str, limits: ModelLimits, asked: Members, body: bytes, prompts: int, dialect: Dialect) -> int:
    of_tools = prompts_of_tools(asked, dialect)
    if of_tools is None:
        raise Unpriceable(
            "Nobody knows how often the provider's own tools read: state `max_tool_calls` (OpenAI) or `max_uses` of "
            "each (Anthropic), or leave them and `mcp_servers` out."
        )
    image_tokens = IMAGE_TOKENS_OF_4O_MINI if "gpt-4o-mini" in model else IMAGE_TOKENS
    media = list(_media(asked, image_tokens))
    tokens = len(body) - sum(one.characters for one in media) + sum(one.tokens for one in media)
    tokens += TOOLS_TOKENS * (1 + typed_tools(asked)) if "tools" in asked or "functions" in asked else 0
    most = limits.context * prompts
    if of_tools:
        return max(most, limits.context * of_tools)
    return most if any(one.is_open for one in media) else min(tokens, most)


def _tokens_out(limits: ModelLimits, asked: Members, target: Target, dialect: Dialect) -> int:
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


def _prompts(asked: Members, target: Target) -> int:
    """How many stand in one request: texts, or lists of tokens."""
    count = 1
    for value in _values(asked, _SEVERAL_PROMPTS.get(target.endpoint, ())):
        if isinstance(value, list) and not all(isinstance(item, int) for item in value):
            count = max(count, len(value))
    return count


def _values(members: Members, names: tuple[str, ...]) -> list[Any]:
    """Of null nothing is stated."""
    return [value for name in names for value in members.get(name, ()) if value is not None]


def _objects(members: Members, name: str) -> list[Members]:
    return [value for value in members.get(name, ()) if isinstance(value, dict)]


def _largest(stated: list[Any], otherwise: int, unstated: int | None = None) -> int:
    """`otherwise`: in the place of what is no positive number; `unstated`: where nothing is stated, if that differs."""
    if not stated:
        return otherwise if unstated is None else unstated
    return max(_number(value) or otherwise for value in stated)


def _number(value: Any) -> int | None:
    """None for what is no positive number, written as one or as text."""
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


def _media(value: Any, image_tokens: int) -> Iterator[_Media]:
    """By the members in which the dialects put them; text that looks like an image elsewhere is text."""
    if isinstance(value, list):
        for item in value:
            yield from _media(item, image_tokens)
    elif isinstance(value, dict):
        if _is_reference(value):
            yield _Media(is_open=True)
        for name, given in value.items():
            for one in given:
                if one is not None:
                    yield from _media_of_member(value, name, one, image_tokens)


def _is_reference(value: Members) -> bool:
    """An item of an earlier response by its id alone (OpenAI's SDK may leave its type out)."""
    return "item_reference" in value.get("type", ()) or (value.keys() == {"id"} and bool(value["id"]))


def _media_of_member(within: Members, name: str, value: Any, image_tokens: int) -> Iterator[_Media]:
    if name in _TEXT_WHATEVER_IT_HOLDS or (name == "input" and within.get("type") == ["tool_use"]):
        return
    is_earlier_audio = name == "audio" and isinstance(value, dict) and "id" in value
    if name in _REFERENCES or is_earlier_audio or (name == "prompt" and isinstance(value, dict)):
        yield _Media(is_open=True)
    elif name == "image_url":
        urls = value.get("url", []) if isinstance(value, dict) else [value]
        details = [*within.get("detail", ()), *(value.get("detail", ()) if isinstance(value, dict) else ())]
        tokens = max(image_tokens, IMAGE_TOKENS_IN_ORIGINAL_DETAIL) if "original" in details else image_tokens
        yield _Media(_characters(urls), tokens)
    elif name == "source" and isinstance(value, dict) and "url" in value:
        yield _Media(0, image_tokens) if within.get("type") == ["image"] else _Media(is_open=True)
    elif name in _DATA and isinstance(value, dict) and "data" in value:
        yield _of_data(_characters(value["data"]), _media_type(name, value), image_tokens)
    else:
        yield from _media(value, image_tokens)


def _characters(values: list[Any]) -> int:
    return sum(len(value) for value in values if isinstance(value, str))


def _media_type(name: str, described: Members) -> str:
    """Empty where it is not stated, or stated twice; OpenAI's audio has a `format` instead."""
    named = [value for other in _MEDIA_TYPES for value in described.get(other, ()) if isinstance(value, str)]
    if len(named) == 1:
        return named[0].lower()
    return "audio/" if name == "input_audio" else ""


def _of_data(characters: int, media_type: str, image_tokens: int) -> _Media:
    if media_type.startswith("image/"):
        return _Media(characters, image_tokens)
    if media_type.startswith("audio/"):
        return _Media(characters, characters // BASE64_CHARACTERS_AN_AUDIO_TOKEN)
    return _Media() if media_type.startswith("text/") else _Media(is_open=True)
