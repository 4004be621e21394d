"""Errors that providers tell inside an answer of status 200: what status the call really had. Pure.

| where | form |
|---|---|
| OpenAI, OpenRouter, compatible: stream and body | `{"error": {message, type, code}}`, `{"error": "text"}` |
| OpenAI responses: stream | `{"type": "error", code, message}`, `{"type": "response.failed", "response": {…}}` |
| OpenAI responses: body | `{"status": "failed", "error": {code, message}}` |
| Anthropic: stream and body | `{"type": "error", "error": {type, message}}` |
| Gemini: stream, array and body | `{"error": {code, message, status}}` |
| AWS in front of a model: body | `{"__type": "ThrottlingException"}`, `{"Output": {"__type": …}}` |

Only frames and bodies with a word of these forms are parsed, so a stream without errors costs three searches a piece.
"""

import re
from typing import Any

import msgspec

BODY_BYTES_MAX = 64 * 1024
LINE_BYTES_MAX = 64 * 1024
"""What is longer is no error."""
SERVER_ERROR = 500
_STATUS_OF = (
    (re.compile(r"overloaded"), 529),
    (re.compile(r"rate_limit|quota|resource_exhausted|throttl|too_?many"), 429),
    (re.compile(r"authentication|unauthenticated|invalid_api_key"), 401),
    (re.compile(r"permission"), 403),
    (re.compile(r"not_found"), 404),
    (re.compile(r"deadline|timeout"), 504),
    (re.compile(r"unavailable"), 503),
    (re.compile(r"invalid|validation|content_policy|context_length|failed_precondition"), 400),
)


class _Told(msgspec.Struct):
    """The members that may tell of an error; all else is passed over."""

    type: Any = None
    error: Any = None
    code: Any = None
    status: Any = None
    response: Any = None
    Output: Any = None
    aws_type: Any = msgspec.field(default=None, name="__type")


_TOLD = msgspec.json.Decoder(_Told)
_TOLD_IN_A_LIST = msgspec.json.Decoder(list[_Told])


class ErrorWatch:
    """`feed` it each piece of a good answer; `status` at the end: None where no error was told."""

    def __init__(self, *, streams: bool) -> None:
        self._streams = streams
        self._held = b""
        self._status: int | None = None
        self._skipping = False

    @property
    def status(self) -> int | None:
        if self._held and not self._skipping:
            self._read(self._held)
            self._held = b""
        return self._status

    def feed(self, piece: bytes) -> None:
        if not self._streams:
            self._hold(piece, BODY_BYTES_MAX)
        elif self._held or self._skipping or not piece.endswith(b"\n") or _is_hinted(piece):
            *lines, rest = (self._held + piece).split(b"\n")
            if lines and self._skipping:
                self._skipping = False
                del lines[0]
            for line in lines:
                self._read(line)
            self._held = b""
            self._hold(rest, LINE_BYTES_MAX)

    def _hold(self, piece: bytes, most: int) -> None:
        if self._skipping:
            return
        self._held += piece
        if len(self._held) > most:
            self._held, self._skipping = b"", True

    def _read(self, written: bytes) -> None:
        data = written.removeprefix(b"data:").strip()
        if data[:1] not in (b"{", b"[") or not _is_hinted(data):
            return
        try:
            told = _TOLD_IN_A_LIST.decode(data) if data[:1] == b"[" else [_TOLD.decode(data)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        for one in told:
            self._status = _status_of(one) or self._status


def _is_hinted(written: bytes) -> bool:
    return b"error" in written or b'"failed"' in written or b"__type" in written


def _status_of(told: _Told) -> int | None:
    """None where it tells of no error: responses that went well have `"error": null`."""
    response = told.response if isinstance(told.response, dict) else {}
    if told.type == "response.failed" or response.get("status") == "failed":
        return _meant(response.get("error"))
    if told.type == "error" and told.error is None:
        return _meant({"code": told.code})
    if told.error is not None or told.type == "error" or told.status == "failed":
        return _meant(told.error)
    output = told.Output if isinstance(told.Output, dict) else {}
    kind = told.aws_type or output.get("__type")
    return None if kind is None else _meant({"type": kind})


def _meant(error: Any) -> int:
    """The status with which the provider would have told it; 500 where it names none that is known."""
    said = error if isinstance(error, dict) else {"type": error}
    for name in ("code", "status"):
        code = said.get(name)
        number = int(code) if isinstance(code, str) and code.isdecimal() and len(code) == 3 else code
        if isinstance(number, int) and 400 <= number <= 599:
            return number
    words = " ".join(str(said[name]) for name in ("type", "code", "status") if said.get(name))
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", words).lower()
    return next((status for pattern, status in _STATUS_OF if pattern.search(words)), SERVER_ERROR)
