"""Reads an answer's usage while it passes: from SSE frames as they come, or from a JSON body. Pure; nothing is changed.

A stream's last word on usage counts (B-042): OpenAI's is in the last frame, Anthropic's first and last frames each tell
a part, every frame of Gemini's tells the state so far. Frames may be cut anywhere, within a character too; one longer
than `FRAME_BYTES_MAX` passes unread (RELIABILITY L5). Where no usage came, tokens are estimated from the text (B-073)
and the result says so. What can't be read is skipped: no answer suffers from it (B-060).
"""

import json
import math
import re
from typing import NamedTuple

import msgspec

from ingest_gateway.surfaces.burn.edge.inspection import ABSENT, count_characters, estimate_tokens

FRAME_BYTES_MAX = 1024 * 1024
BODY_BYTES_MAX = 1024 * 1024
TAIL_BYTES = 16 * 1024
TOKENS_MAX = 1 << 40


class Usage(NamedTuple):
    """Of one call. `estimated`: at least one of the counts is; `cost_usd` where the provider itself says it."""

    tokens_in: int
    tokens_out: int
    cached_tokens: int = 0
    estimated: bool = False
    model: str = ""
    cost_usd: float | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Counts(msgspec.Struct):
    """OpenAI's chat, completions, embeddings (first names) and responses, Anthropic's (second)."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cost: float | None = None


class _GeminiCounts(msgspec.Struct):
    promptTokenCount: int | None = None
    candidatesTokenCount: int | None = None
    thoughtsTokenCount: int | None = None
    cachedContentTokenCount: int | None = None
    toolUsePromptTokenCount: int | None = None


class _Nested(msgspec.Struct):
    """`message` of Anthropic's first frame, `response` of OpenAI's responses."""

    model: str | None = None
    usage: _Counts | None = None


class _Frame(msgspec.Struct):
    """One frame, or one whole body. What is Raw holds the model's text, or an object that holds it."""

    model: str | None = None
    modelVersion: str | None = None
    usage: _Counts | None = None
    usageMetadata: _GeminiCounts | None = None
    message: _Nested | None = None
    response: _Nested | None = None
    choices: msgspec.Raw = ABSENT
    delta: msgspec.Raw = ABSENT
    candidates: msgspec.Raw = ABSENT
    content: msgspec.Raw = ABSENT
    output: msgspec.Raw = ABSENT


_FRAME = msgspec.json.Decoder(_Frame)
_FRAMES = msgspec.json.Decoder(list[_Frame])
_COUNTS = msgspec.json.Decoder(_Counts)
_GEMINI_COUNTS = msgspec.json.Decoder(_GeminiCounts)
_USAGE_MEMBER = re.compile(rb'"(usage|usageMetadata)"\s*:\s*(?=\{)')


class Tally:
    """What was said so far of one call."""

    def __init__(self) -> None:
        self._in: int | None = None
        self._out: int | None = None
        self._cached = 0
        self._final = False
        self._model = ""
        self._cost_usd: float | None = None
        self.characters = 0

    def usage(self, prompt_characters: int) -> Usage:
        """As far as it was told, the rest estimated. An output count before the stream's end is not its last."""
        tokens_in = estimate_tokens(prompt_characters) if self._in is None else self._in
        tokens_out = (self._out or 0) if self._final else max(self._out or 0, estimate_tokens(self.characters))
        estimated = self._in is None or not self._final
        return Usage(tokens_in, tokens_out, self._cached, estimated, self._model, self._cost_usd)

    def take(self, frame: _Frame) -> None:
        self._model = frame.model or frame.modelVersion or self._model
        if frame.usage is not None:
            self.take_counts(frame.usage, final=True)
        if frame.usageMetadata is not None:
            self.take_gemini(frame.usageMetadata)
        for nested, final in ((frame.message, False), (frame.response, True)):
            if nested is not None:
                self._model = nested.model or self._model
                if nested.usage is not None:
                    self.take_counts(nested.usage, final=final)
        for raw in (frame.choices, frame.delta, frame.candidates, frame.content, frame.output):
            if raw:
                self.characters += count_characters(msgspec.json.decode(raw))

    def take_counts(self, counts: _Counts, *, final: bool) -> None:
        tokens_in = _first(counts.prompt_tokens, counts.input_tokens)
        if tokens_in is not None:
            read, written = counts.cache_read_input_tokens or 0, counts.cache_creation_input_tokens or 0
            details = counts.prompt_tokens_details or counts.input_tokens_details or _Details()
            self._in = _bounded(tokens_in + read + written)
            self._cached = _bounded(read + (details.cached_tokens or 0))
        tokens_out = _first(counts.completion_tokens, counts.output_tokens)
        if tokens_out is not None:
            self._out = _bounded(tokens_out)
        self._final = self._final or final
        if counts.cost is not None and math.isfinite(counts.cost) and counts.cost >= 0:
            self._cost_usd = counts.cost

    def take_gemini(self, counts: _GeminiCounts) -> None:
        """Each frame tells the state so far; those before the first word have no count of what was written."""
        if counts.promptTokenCount is not None:
            self._in = _bounded(counts.promptTokenCount + (counts.toolUsePromptTokenCount or 0))
        self._cached = _bounded(counts.cachedContentTokenCount or 0)
        if counts.candidatesTokenCount is not None or counts.thoughtsTokenCount is not None:
            self._out = _bounded((counts.candidatesTokenCount or 0) + (counts.thoughtsTokenCount or 0))
            self._final = True


class StreamReader:
    """Of `text/event-stream`: `feed` it each piece, in order; `usage` at the end, wherever that was."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._line = bytearray()
        self._skipping = False
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

    def usage(self, prompt_characters: int) -> Usage:
        """A stream may end without a last line end."""
        rest = self._complete(b"")
        if rest:
            self._read(rest)
        return self._tally.usage(prompt_characters)

    def _hold(self, piece: bytes) -> None:
        if self._skipping or not piece:
            return
        self._line += piece
        if len(self._line) > FRAME_BYTES_MAX:
            self._line.clear()
            self._skipping = True
            self.frames_unread += 1
            self._tally.characters += FRAME_BYTES_MAX

    def _complete(self, end: bytes) -> bytes | None:
        if self._skipping:
            self._skipping = False
            return None
        if not self._line:
            return end
        line = bytes(self._line) + end
        self._line.clear()
        return line

    def _read(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if not data.startswith(b"{"):  # `[DONE]`
            return
        try:
            self._tally.take(_FRAME.decode(data))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.frames_unread += 1


class BodyReader:
    """Of a JSON answer. Up to a megabyte it is read as a whole; of a longer one (embeddings) the end is looked at,
    where usage stands."""

    def __init__(self) -> None:
        self._whole = bytearray()
        self._bytes = 0

    def feed(self, piece: bytes) -> None:
        self._bytes += len(piece)
        self._whole += piece
        if self._bytes > BODY_BYTES_MAX and len(self._whole) > 2 * TAIL_BYTES:
            del self._whole[:-TAIL_BYTES]

    def usage(self, prompt_characters: int) -> Usage:
        tally = Tally()
        try:
            if self._bytes > BODY_BYTES_MAX:
                _take_tail(tally, bytes(self._whole))
                tally.characters = 0
            elif self._whole.lstrip()[:1] == b"[":  # Gemini's stream without `alt=sse`
                for frame in _FRAMES.decode(self._whole):
                    tally.take(frame)
            else:
                tally.take(_FRAME.decode(self._whole))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            _take_tail(tally, bytes(self._whole[-TAIL_BYTES:]))
        return tally.usage(prompt_characters)


def _take_tail(tally: Tally, tail: bytes) -> None:
    """The last usage in a piece of JSON that begins or ends anywhere."""
    members = list(_USAGE_MEMBER.finditer(tail))
    if not members:
        return
    found = members[-1]
    try:
        text = tail[found.end() :].decode("utf-8", "replace")
        member = msgspec.json.encode(json.JSONDecoder().raw_decode(text)[0])
        if found[1] == b"usageMetadata":
            tally.take_gemini(_GEMINI_COUNTS.decode(member))
        else:
            tally.take_counts(_COUNTS.decode(member), final=True)
    except (ValueError, RecursionError):
        return


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


def _bounded(tokens: int) -> int:
    return max(0, min(tokens, TOKENS_MAX))
