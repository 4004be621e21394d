"""What the proxy reads of a request before it goes on: model, fingerprint, whether it streams, how long its prompt is.

Nothing that can't be read stops a request: it goes on as it came, with a fingerprint over its bytes (Law 4, B-041).
Of a body of chat completions that stream without asking for usage, one member is added: `stream_options` with
`include_usage` (B-059); every other byte stays. A caller's own `include_usage: false` is kept.
"""

import codecs
import hashlib
from typing import Any, NamedTuple

import msgspec

from domain.guardrails.fingerprints import PREFIX, fingerprint
from domain.json.strict import JsonError
from ingest_gateway.surfaces.burn.broken_text import mended
from ingest_gateway.surfaces.burn.edge.endpoints import Dialect
from ingest_gateway.surfaces.burn.edge.providers import ProviderTarget

CHARACTERS_A_TOKEN = 4  # B-073
USAGE_ON_REQUEST = frozenset({"/chat/completions", "/completions"})
MODEL_CHARACTERS_MAX = 128
_NO_TEXT = frozenset(
    {
        *("role", "type", "id", "tool_call_id", "tool_use_id", "call_id", "url", "data", "file_data", "file_id"),
        *("media_type", "mime_type", "mimeType", "detail", "fileUri"),
        *("finish_reason", "finishReason", "stop_reason", "signature", "thoughtSignature", "status", "object"),
    }
)
ABSENT = msgspec.Raw()


class Inspected(NamedTuple):
    """`body` is what goes on; `as_sent`: what the caller sent, where the proxy asks for usage in its stead.
    `prompt_characters`: of its text, without images and the like."""

    body: bytes
    model: str
    fingerprint: str
    streams: bool = False
    prompt_characters: int = 0
    understood: bool = True
    as_sent: bytes | None = None


class _Asked(msgspec.Struct):
    """The members that matter of all dialects' requests. What is Raw is hashed and measured, never kept."""

    model: Any = None
    stream: Any = None
    stream_options: msgspec.Raw = ABSENT
    messages: msgspec.Raw = ABSENT
    prompt: msgspec.Raw = ABSENT
    input: msgspec.Raw = ABSENT
    contents: msgspec.Raw = ABSENT
    system: msgspec.Raw = ABSENT
    instructions: msgspec.Raw = ABSENT
    systemInstruction: msgspec.Raw = ABSENT
    system_instruction: msgspec.Raw = ABSENT
    functions: msgspec.Raw = ABSENT
    tools: msgspec.Raw = ABSENT
    content: msgspec.Raw = ABSENT
    requests: msgspec.Raw = ABSENT


_DECODER = msgspec.json.Decoder(_Asked)
_PROMPTS = (
    *("messages", "prompt", "input", "contents", "tools", "functions"),
    *("system", "instructions", "systemInstruction", "system_instruction", "content", "requests"),
)


def inspect(body: bytes, target: ProviderTarget, dialect: Dialect, *, ask_usage: bool = True) -> Inspected:
    """Of a whole body. `ask_usage`: whether streams that don't tell their usage unasked are asked for it."""
    try:
        asked, is_sound = _read(body)
    except (msgspec.MsgspecError, RecursionError):
        return opaque(body, target)
    named = asked.model if isinstance(asked.model, str) else ""
    model = (target.model or named)[:MODEL_CHARACTERS_MAX]
    is_asking = ask_usage and is_sound and dialect is Dialect.OPENAI
    asking = _asking_for_usage(body, asked, target) if is_asking else body
    return Inspected(
        asking,
        model,
        _fingerprint(asked, model, body),
        target.streams or bool(asked.stream),
        _prompt_characters(asked),
        as_sent=None if asking is body else body,
    )


def _read(body: bytes) -> tuple[_Asked, bool]:
    """Also of a body with broken text or a byte order mark, which some providers take: with False, as nothing can be
    added to it then. Raises msgspec.MsgspecError, RecursionError."""
    try:
        return _DECODER.decode(body), True
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _DECODER.decode(mended(body.removeprefix(codecs.BOM_UTF8))), False


def opaque(body: bytes, target: ProviderTarget) -> Inspected:
    """Of a body that is not read: too large, in a content coding, or not JSON as the provider takes it."""
    return Inspected(body, target.model, _digest_of(body), target.streams, len(body), understood=False)


def _digest_of(body: bytes) -> str:
    return f"{PREFIX}{hashlib.sha256(body).hexdigest()}"


def estimate_tokens(characters: int) -> int:
    """B-073: a fourth of them, rounded up; 0 of nothing."""
    return -(-characters // CHARACTERS_A_TOKEN)


def _fingerprint(asked: _Asked, model: str, body: bytes) -> str:
    """Gemini's embeddings have their text where fingerprints don't look: their bytes tell them apart."""
    if asked.content or asked.requests:
        return _digest_of(body)
    members = {name: raw for name in _PROMPTS if (raw := getattr(asked, name))}
    if asked.model:
        members["model"] = msgspec.json.encode(asked.model)
    try:
        return fingerprint(members, model)
    except JsonError:
        return _digest_of(body)


def _prompt_characters(asked: _Asked) -> int:
    raws = (getattr(asked, name) for name in _PROMPTS)
    return sum(_characters_of(bytes(raw)) for raw in raws if raw)


def _characters_of(text: bytes) -> int:
    """Each member by itself: what can't be read is as long as it is."""
    try:
        return count_characters(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return len(text)


def count_characters(value: Any) -> int:
    """Of all text in decoded JSON, whatever its form; ids, kinds, images and files are no text."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(map(count_characters, value))
    if isinstance(value, dict):
        return sum(count_characters(member) for name, member in value.items() if name not in _NO_TEXT)
    return 0


def _asking_for_usage(body: bytes, asked: _Asked, target: ProviderTarget) -> bytes:
    if asked.stream is not True or target.endpoint not in USAGE_ON_REQUEST:
        return body
    if not asked.stream_options:
        end = body.rindex(b"}")
        return body[:end] + b',"stream_options":{"include_usage":true}' + body[end:]
    try:
        options = msgspec.json.decode(asked.stream_options)
        members: dict[str, Any] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    if options is not None and (not isinstance(options, dict) or "include_usage" in options):
        return body
    members["stream_options"] = {**(options or {}), "include_usage": True}
    return msgspec.json.encode(members)
