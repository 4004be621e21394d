"""Finds the media in a request's body, and how many tokens a model counts for each at most."""

from collections.abc import Iterator
from typing import Any, NamedTuple

IMAGE_TOKENS, IMAGE_TOKENS_OF_4O_MINI, IMAGE_TOKENS_IN_ORIGINAL_DETAIL = 5_000, 50_000, 25_000
BASE64_CHARACTERS_AN_AUDIO_TOKEN = 16
_REFERENCES = frozenset(
    {
        *("file_id", "file_url", "fileData", "file_uri", "fileUri", "previous_response_id", "conversation"),
        *("cachedContent", "cached_content", "container", "mcp_servers", "file_data"),
        *("document_url", "video_url", "input_video", "audio_url"),  # Mistral, OpenRouter, vLLM
    }
)
_TEXT_WHATEVER_IT_HOLDS = frozenset(
    {
        *("args", "arguments", "response", "parameters", "input_schema", "schema", "properties", "metadata"),
        "input_examples",
    }
)
"""What tools are given and give back, and how they are described: models read it as text."""
_DATA = frozenset({"source", "inlineData", "inline_data", "input_audio"})
_MEDIA_TYPES = ("media_type", "mime_type", "mimeType")

Members = dict[str, list[Any]]
"""An object as it was sent: each name with all the values it was given."""


class Media(NamedTuple):
    """What of a body is no text: how many characters, how many tokens at most; `is_open`: nobody can say."""

    characters: int = 0
    tokens: int = 0
    is_open: bool = False


def image_tokens_of(model: str) -> int:
    return IMAGE_TOKENS_OF_4O_MINI if "gpt-4o-mini" in model else IMAGE_TOKENS


def media_in(value: Any, image_tokens: int) -> Iterator[Media]:
    """By the members in which the dialects put them; text that looks like an image elsewhere is text."""
    if isinstance(value, list):
        for item in value:
            yield from media_in(item, image_tokens)
    elif isinstance(value, dict):
        if _is_reference(value):
            yield Media(is_open=True)
        for name, given in value.items():
            for one in given:
                if one is not None:
                    yield from _media_of_member(value, name, one, image_tokens)


def _is_reference(value: Members) -> bool:
    """An item of an earlier response by its id alone (OpenAI's SDK may leave its type out)."""
    return "item_reference" in value.get("type", ()) or (value.keys() == {"id"} and bool(value["id"]))


def _media_of_member(within: Members, name: str, value: Any, image_tokens: int) -> Iterator[Media]:
    if name in _TEXT_WHATEVER_IT_HOLDS or (name == "input" and within.get("type") == ["tool_use"]):
        return
    is_earlier_audio = name == "audio" and isinstance(value, dict) and "id" in value
    if name in _REFERENCES or is_earlier_audio or (name == "prompt" and isinstance(value, dict)):
        yield Media(is_open=True)
    elif name == "image_url":
        urls = value.get("url", []) if isinstance(value, dict) else [value]
        details = [*within.get("detail", ()), *(value.get("detail", ()) if isinstance(value, dict) else ())]
        tokens = max(image_tokens, IMAGE_TOKENS_IN_ORIGINAL_DETAIL) if "original" in details else image_tokens
        yield Media(_characters(urls), tokens)
    elif name == "source" and isinstance(value, dict) and "url" in value:
        yield Media(0, image_tokens) if within.get("type") == ["image"] else Media(is_open=True)
    elif name in _DATA and isinstance(value, dict) and "data" in value:
        yield _of_data(_characters(value["data"]), _media_type(name, value), image_tokens)
    else:
        yield from media_in(value, image_tokens)


def _characters(values: list[Any]) -> int:
    return sum(len(value) for value in values if isinstance(value, str))


def _media_type(name: str, described: Members) -> str:
    """Empty where it is not stated, or stated twice; OpenAI's audio has a `format` instead."""
    named = [value for other in _MEDIA_TYPES for value in described.get(other, ()) if isinstance(value, str)]
    if len(named) == 1:
        return named[0].lower()
    return "audio/" if name == "input_audio" else ""


def _of_data(characters: int, media_type: str, image_tokens: int) -> Media:
    if media_type.startswith("image/"):
        return Media(characters, image_tokens)
    if media_type.startswith("audio/"):
        return Media(characters, characters // BASE64_CHARACTERS_AN_AUDIO_TOKEN)
    return Media() if media_type.startswith("text/") else Media(is_open=True)
