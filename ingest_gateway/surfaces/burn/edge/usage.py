"""Reads an answer's usage while it passes: from SSE frames as they come, or from a JSON body; changes nothing.

usage_conventions.py says where providers report it, and in which convention. If a stream reports it several times, the
largest counts are taken (B-042): they grow, and some providers end with zeros. Frames may be cut anywhere, also within
a character; one longer than `FRAME_BYTES_MAX` is forwarded unread (L5). Without usage, tokens are estimated from the
text (B-073) and the result says so. What can't be read is skipped and forwarded all the same (B-060).
"""

import json
import re
from typing import Any, NamedTuple

import msgspec

from ingest_gateway.surfaces.burn.broken_text import mended
from ingest_gateway.surfaces.burn.edge.inspection import ABSENT, count_characters, estimate_tokens
from ingest_gateway.surfaces.burn.usage_conventions import USAGE, Counts, When, read_counts

FRAME_BYTES_MAX = 1024 * 1024
BODY_BYTES_MAX = 1024 * 1024
TAIL_BYTES = 16 * 1024


class CallUsage(NamedTuple):
    """The usage of one call. `estimated`: at least one count is an estimate. `cost_usd`: if the provider reports it.
    Parts of `tokens_in`: `cached_tokens` came from the provider's cache, `written_…` were put into it
    (domain/guardrails/prices.py).
    """

    tokens_in: int
    tokens_out: int
    cached_tokens: int = 0
    estimated: bool = False
    model: str = ""
    cost_usd: float | None = None
    written_tokens: int = 0
    written_long_tokens: int = 0


class _Frame(msgspec.Struct):
    """One frame, or one whole body. Raw members hold the model's text, or an object with it."""

    model: Any = None
    modelVersion: Any = None
    usage: Any = None
    usageMetadata: Any = None
    message: Any = None
    response: Any = None
    x_groq: Any = None
    metadata: Any = None
    metrics: Any = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")
    choices: msgspec.Raw = ABSENT
    delta: msgspec.Raw = ABSENT
    candidates: msgspec.Raw = ABSENT
    content: msgspec.Raw = ABSENT
    output: msgspec.Raw = ABSENT


_FRAME = msgspec.json.Decoder(_Frame)
_FRAMES = msgspec.json.Decoder(list[_Frame])
_TEXTS = ("choices", "delta", "candidates", "content", "output")
_FIELDS = {field.encode_name: field.name for field in msgspec.structs.fields(_Frame)}


def _paths() -> dict[str, list[tuple[str, bool]]]:
    """For each member of a frame: the paths to usage within it, and whether those counts are early ones."""
    found: dict[str, list[tuple[str, bool]]] = {}
    for location in USAGE:
        member, _, rest = location.path.partition(".")
        path = rest, location.when is When.BEGUN
        paths = found.setdefault(_FIELDS[member.removesuffix("[]")], [])
        if path not in paths:
            paths.append(path)
    return found


_PATHS = _paths()
_IN_TEXTS = {name: paths for name, paths in _PATHS.items() if name in _TEXTS}
_IN_OBJECTS = {name: paths for name, paths in _PATHS.items() if name not in _TEXTS}
_USAGE_MEMBER = re.compile(rb'"(usage|usageMetadata)"\s*:\s*(?=\{)')


class Tally:
    """What one call has reported so far."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._final = False
        self._model = ""
        self.characters = 0

    def usage(self, prompt_characters: int) -> CallUsage:
        """The reported counts; missing ones are estimated: an output before the stream's end, and one reported as zero
        although there is text. If only a total is reported, the part beyond the prompt is output.
        """
        counts = self._counts.completed()
        tokens_in, tokens_out = counts.tokens_in, counts.tokens_out
        if tokens_in is None:
            tokens_in = estimate_tokens(prompt_characters)
            if counts.total is not None and tokens_out is None:
                tokens_in = min(tokens_in, counts.total) if self.characters else counts.total
                tokens_out = counts.total - tokens_in
        is_reported = self._final and tokens_out is not None and bool(tokens_out or not self.characters)
        tokens_out = tokens_out or 0
        if not is_reported:
            tokens_out = max(tokens_out, estimate_tokens(self.characters))
        return CallUsage(
            tokens_in,
            tokens_out,
            counts.cached,
            counts.tokens_in is None or not is_reported,
            self._model,
            counts.cost_usd,
            counts.written - counts.written_long,
            counts.written_long,
        )

    def take(self, frame: _Frame) -> None:
        self._take_model(frame.model, frame.modelVersion)
        for name, paths in _IN_OBJECTS.items():
            value = getattr(frame, name)
            if value is not None:
                self._take_paths(value, paths)
                if isinstance(value, dict) and name in ("message", "response"):
                    self._take_model(value.get("model"), value.get("modelVersion"))
        for name in _TEXTS:
            raw = getattr(frame, name)
            if raw:
                self._take_text(msgspec.json.decode(raw), _IN_TEXTS.get(name, ()))

    def _take_text(self, value: Any, paths: Any) -> None:
        for one in value if isinstance(value, list) else [value]:
            self.characters += count_characters(_without_error(one))
        for one in value if isinstance(value, list) and paths else [value]:
            self._take_paths(one, paths)

    def _take_paths(self, value: Any, paths: Any) -> None:
        for path, begun in paths:
            self.take_usage(_at(value, path), final=not begun)

    def take_usage(self, usage: Any, *, final: bool) -> None:
        counts = read_counts(usage)
        if counts is not None:
            self._counts = self._counts.merged(counts)
            self._final = self._final or (final and not (counts.tokens_out is None and counts.total is None))

    def _take_model(self, *names: Any) -> None:
        self._model = next((name for name in names if isinstance(name, str) and name), self._model)


def _without_error(choice: Any) -> Any:
    """OpenRouter's error text was not written by the model."""
    if not isinstance(choice, dict) or not choice.get("error"):
        return choice
    return {name: value for name, value in choice.items() if name not in ("error", "native_finish_reason")}


def _at(value: Any, name: str) -> Any:
    if not name:
        return value
    return value.get(name) if isinstance(value, dict) else None


class StreamReader:
    """For `text/event-stream`: `feed` it each piece in order; `usage` at the end, wherever the stream ended."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._line = bytearray()
        self._skipping = False  # a frame that is too long, of which `_line` holds the end
        self.frames_unread = 0

    def feed(self, piece: bytes) -> None:
        lines = piece.split(b"\n")
        if len(lines) == 1:
            self._hold(piece)
            return
        first = self._complete(lines[0])
        if first is not None:
            self._read(first)
        for line in lines[1:-1]:
            self._read(line)
        self._hold(lines[-1])

    def usage(self, prompt_characters: int) -> CallUsage:
        """A stream may end without a last line end."""
        rest = self._complete(b"")
        if rest:
            self._read(rest)
        return self._tally.usage(prompt_characters)

    def _hold(self, piece: bytes) -> None:
        self._line += piece
        if self._skipping:
            del self._line[:-TAIL_BYTES]
        elif len(self._line) > FRAME_BYTES_MAX:
            del self._line[:-TAIL_BYTES]
            self._skipping = True
            self.frames_unread += 1
            self._tally.characters += FRAME_BYTES_MAX

    def _complete(self, end: bytes) -> bytes | None:
        if not self._line and not self._skipping:
            return end
        line = bytes(self._line) + end
        self._line.clear()
        if self._skipping:  # an image, say, with usage behind it
            self._skipping = False
            _take_tail(self._tally, line[-TAIL_BYTES:])
            return None
        return line

    def _read(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if not data.startswith(b"{"):  # `[DONE]`
            return
        try:
            self._tally.take(_decoded(_FRAME, data))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.frames_unread += 1


class BodyReader:
    """For a JSON answer. Up to a megabyte it is read as a whole. Of a longer one (embeddings) only the end is read,
    where usage is.
    """

    def __init__(self) -> None:
        self._whole = bytearray()
        self._bytes = 0

    def feed(self, piece: bytes) -> None:
        self._bytes += len(piece)
        self._whole += piece
        if self._bytes > BODY_BYTES_MAX and len(self._whole) > 2 * TAIL_BYTES:
            del self._whole[:-TAIL_BYTES]

    def usage(self, prompt_characters: int) -> CallUsage:
        tally = Tally()
        try:
            if self._bytes > BODY_BYTES_MAX:
                _take_tail(tally, bytes(self._whole))
                tally.characters = 0
            elif self._whole.lstrip()[:1] == b"[":  # Gemini's stream without `alt=sse`
                for frame in _decoded(_FRAMES, bytes(self._whole)):
                    tally.take(frame)
            else:
                tally.take(_decoded(_FRAME, bytes(self._whole)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            _take_tail(tally, bytes(self._whole[-TAIL_BYTES:]))
        return tally.usage(prompt_characters)


def _decoded(decoder: Any, text: bytes) -> Any:
    """Half a character (which the next frame completes) does not hide the usage. Raises msgspec.MsgspecError."""
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return decoder.decode(mended(text))


def _take_tail(tally: Tally, tail: bytes) -> None:
    """The last usage in a fragment of JSON."""
    members = list(_USAGE_MEMBER.finditer(tail))
    if not members:
        return
    found = members[-1]
    try:
        text = tail[found.end() :].decode("utf-8", "replace")
        tally.take_usage(json.JSONDecoder().raw_decode(text)[0], final=True)
    except (ValueError, RecursionError):
        return
