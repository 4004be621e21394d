"""Removes from a stream the usage chunk that the proxy, and not the caller, asked for.

OpenAI's last chunk of usage has `"choices": []` (servers in Go write `null`, some leave it out), which the usual loops
over its SDKs' streams don't expect (`chunk.choices[0]` raises IndexError or TypeError). All other bytes pass as they
came, in the same order, with any line ends, comments and cuts; only a frame that is not complete yet is held
back, and nobody could have read it.

A provider that refuses the member is remembered by `Refusing`, and its calls go on as their callers wrote them.
"""

import re
import time
from collections.abc import Callable

import msgspec

HELD_BYTES_MAX = 64 * 1024
"""A longer frame is no chunk of usage, and passes as it comes."""
REMEMBERED_SECONDS = 3_600.0
REMEMBERED_MAX = 1_000
_END_OF_FRAME = re.compile(rb"(?:\r\n|\n)(?:\r\n|\n)|\r\r")
_USAGE = re.compile(rb'"usage"(?:\s|data:)*:(?:\s|data:)*\{')  # a frame may have several lines
_NAMES_THE_MEMBER = re.compile(rb"stream_options|include_usage")
REFUSALS = frozenset({400, 404, 422})


class _Chunk(msgspec.Struct):
    usage: dict[str, msgspec.Raw]
    choices: list[msgspec.Raw] | None = None
    error: msgspec.Raw | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)


class UsageChunkFilter:
    """`feed` it each piece and pass on what it gives; `rest` at the stream's end."""

    def __init__(self) -> None:
        self._held = b""
        self._passing = False

    def feed(self, piece: bytes) -> bytes:
        if not self._held and not self._passing and _ends_a_frame(piece) and _USAGE.search(piece) is None:
            return piece  # whole frames, as providers send them, and none of usage
        passed = bytearray()
        waiting = self._held + piece
        while (end := _END_OF_FRAME.search(waiting)) is not None:
            frame, waiting = waiting[: end.end()], waiting[end.end() :]
            if self._passing or not tells_unasked_usage(frame):
                passed += frame
            self._passing = False
        if self._passing or len(waiting) > HELD_BYTES_MAX:
            self._passing = True
            text = waiting.rstrip(b"\r\n")  # its end may be cut in two
            passed += text
            waiting = waiting[len(text) :]
        elif _is_comment(waiting):
            passed += waiting
            waiting = b""
        self._held = waiting
        return bytes(passed)

    def rest(self) -> bytes:
        """A last frame without a blank line behind it."""
        rest, self._held = self._held, b""
        return b"" if tells_unasked_usage(rest) else rest


def tells_unasked_usage(frame: bytes) -> bool:
    """Whether it is a chunk of usage and nothing else: no choices, and counts."""
    if _USAGE.search(frame) is None:
        return False
    data = b"\n".join(line[5:].strip() for line in re.split(rb"\r\n|\n|\r", frame) if line.startswith(b"data:"))
    try:
        chunk = _CHUNK.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return not chunk.choices and bool(chunk.usage) and chunk.error is None


def refuses_to_tell(status: int, body: bytes) -> bool:
    """Whether a provider's error is about the member that the proxy added."""
    return status in REFUSALS and _NAMES_THE_MEMBER.search(body) is not None


def _ends_a_frame(piece: bytes) -> bool:
    return piece.endswith((b"\n\n", b"\r\n\r\n"))


def _is_comment(waiting: bytes) -> bool:
    """A whole line that says nothing but that the stream lives; it is not kept waiting."""
    return waiting.startswith(b":") and waiting.endswith(b"\n") and waiting.count(b"\n") == 1


class Refusing:
    """Which providers, by model, refused the member: for an hour, the newest `REMEMBERED_MAX`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[tuple[str, str], float] = {}

    def add(self, provider: str, model: str) -> None:
        self._until.pop((provider, model), None)
        self._until[provider, model] = self._clock() + REMEMBERED_SECONDS
        while len(self._until) > REMEMBERED_MAX:
            del self._until[next(iter(self._until))]

    def has(self, provider: str, model: str) -> bool:
        until = self._until.get((provider, model))
        if until is not None and until <= self._clock():
            del self._until[provider, model]
            return False
        return until is not None
