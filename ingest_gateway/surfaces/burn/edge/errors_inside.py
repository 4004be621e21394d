"""Finds errors that providers write inside an answer of status 200, and the status that the call really had.

| where | form |
|---|---|
| OpenAI, OpenRouter, compatible: stream and body | `{"error": {message, type, code}}`, `{"error": "text"}` |
| OpenRouter: stream and body | `{"choices": [{"error": {code, message}}]}` |
| vLLM, FastChat, Mistral: stream and body | `{"object": "error", message, type, code}` |
| MiniMax: stream and body | `{"base_resp": {"status_code": 1002, …}}`, where 0 is no error |
| Groq, TGI, any: stream | the frame `event: error`, with any data |
| OpenAI responses: stream | `{"type": "error", code, message}`, `{"type": "response.failed", "response": {…}}` |
| OpenAI responses: body | `{"status": "failed", "error": {code, message}}` |
| Anthropic: stream and body | `{"type": "error", "error": {type, message}}` |
| Gemini: stream, array and body | `{"error": {code, message, status}}`; in streams also bare, in many lines |
| AWS in front of a model: body | `{"__type": "ThrottlingException"}`, `{"Output": {"__type": …}}` |

Only frames and bodies with a word of these forms are parsed, so a stream without errors costs three searches a piece.
"""

import re
from typing import Any

import msgspec

BODY_BYTES_MAX = 64 * 1024
LINE_BYTES_MAX = 64 * 1024
"""A longer line is not an error."""
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
_MINIMAX = {1001: 504, 1002: 429, 1004: 401, 1008: 402, 1039: 429}


class _ErrorMembers(msgspec.Struct):
    """The members that may hold an error; others are ignored."""

    type: Any = None
    error: Any = None
    code: Any = None
    status: Any = None
    response: Any = None
    object: Any = None
    choices: Any = None
    base_resp: Any = None
    status_code: Any = None
    Output: Any = None
    aws_type: Any = msgspec.field(default=None, name="__type")


_MEMBERS = msgspec.json.Decoder(_ErrorMembers)
_MEMBERS_IN_A_LIST = msgspec.json.Decoder(list[_ErrorMembers])


class ErrorWatch:
    """Watches an answer for errors: `feed` it each piece; `status` is None at the end where there was no error."""

    def __init__(self, *, streams: bool) -> None:
        self._streams = streams
        self._held = b""
        self._bare = b""  # JSON over several lines, as far as it came
        self._status: int | None = None
        self._in_error_event = False
        self._skipping = False

    @property
    def status(self) -> int | None:
        if self._held and not self._skipping:
            self._line(self._held) if self._streams else self._read(self._held)
            self._held = b""
        return self._status

    def feed(self, piece: bytes) -> None:
        if not self._streams:
            self._hold(piece, BODY_BYTES_MAX)
        elif self._is_within() or not piece.endswith(b"\n") or piece[:1] == b"{" or _is_hinted(piece):
            *lines, rest = (self._held + piece).split(b"\n")
            if lines and self._skipping:
                self._skipping = False
                del lines[0]
            for line in lines:
                self._line(line)
            self._held = b""
            self._hold(rest, LINE_BYTES_MAX)

    def _is_within(self) -> bool:
        return bool(self._held or self._bare) or self._skipping or self._in_error_event

    def _hold(self, piece: bytes, most: int) -> None:
        if self._skipping:
            return
        self._held += piece
        if len(self._held) > most:
            self._held, self._skipping = b"", True

    def _line(self, line: bytes) -> None:
        line = line.rstrip(b"\r")
        if self._bare or line[:1] == b"{":
            self._bare += line
            if self._read(self._bare) or len(self._bare) > LINE_BYTES_MAX:
                self._bare = b""
        elif not line:
            self._in_error_event = False
        elif line.startswith(b"event:"):
            self._in_error_event = line[6:].strip() == b"error"
            if self._in_error_event:
                self._status = self._status or SERVER_ERROR
        elif line.startswith(b"data:"):
            self._read(line[5:])

    def _read(self, written: bytes) -> bool:
        """Reads one line or several. False where the JSON goes on in the next line."""
        data = written.strip()
        if data[:1] not in (b"{", b"["):
            return True
        if not data.endswith((b"}", b"]")):
            return False
        if not self._in_error_event and not _is_hinted(data):
            return True
        try:
            found = _MEMBERS_IN_A_LIST.decode(data) if data[:1] == b"[" else [_MEMBERS.decode(data)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False
        for one in found:
            self._status = _status_of(one) or (_of_error_event(one) if self._in_error_event else self._status)
        return True


def _is_hinted(written: bytes) -> bool:
    return b"error" in written or b'"failed"' in written or b"__type" in written or b'"base_resp"' in written


def _status_of(found: _ErrorMembers) -> int | None:
    """The error's status; None where there is no error: answers that went well have `"error": null`, some `""` or
    `{}`."""
    response = found.response if isinstance(found.response, dict) else {}
    if found.type == "response.failed" or response.get("status") == "failed":
        return _meant(response.get("error"))
    if found.object == "error" or (found.type == "error" and not found.error):
        return _meant({"type": found.type, "code": found.code})
    if found.error or found.type == "error" or found.status == "failed":
        return _meant(found.error)
    return _of_choices(found.choices) or _of_minimax(found.base_resp) or _of_aws(found)


def _of_choices(choices: Any) -> int | None:
    errors = (
        (choice.get("error") for choice in choices if isinstance(choice, dict)) if isinstance(choices, list) else ()
    )
    return next((_meant(error) for error in errors if error), None)


def _of_minimax(base_resp: Any) -> int | None:
    code = base_resp.get("status_code") if isinstance(base_resp, dict) else None
    return _MINIMAX.get(code, SERVER_ERROR) if isinstance(code, int) and code else None


def _of_aws(found: _ErrorMembers) -> int | None:
    output = found.Output if isinstance(found.Output, dict) else {}
    kind = found.aws_type or output.get("__type")
    return None if kind is None else _meant({"type": kind})


def _of_error_event(found: _ErrorMembers) -> int:
    return _meant({"type": found.type, "code": found.code, "status": found.status, "status_code": found.status_code})


def _meant(error: Any) -> int:
    """The status that the provider would have sent for this error; 500 where the error names no known one."""
    said = error if isinstance(error, dict) else {"type": error}
    for name in ("code", "status", "status_code"):
        code = said.get(name)
        number = int(code) if isinstance(code, str) and code.isdecimal() and len(code) == 3 else code
        if isinstance(number, int) and 400 <= number <= 599:
            return number
    words = " ".join(str(said[name]) for name in ("type", "code", "status") if said.get(name))
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", words).lower()
    return next((status for pattern, status in _STATUS_OF if pattern.search(words)), SERVER_ERROR)
