"""Errors as data. All code raises `Refused`; only the surface's renderer turns it into an answer.

`ErrorKind` is what went wrong, the same for all surfaces. A surface gives its own codes (and statuses, where its
document has others) to the kinds that it documents, in its renderer or with `ErrorAnswer`s of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from aiohttp import web

from schemas.errors import FieldError

FIELD_ERRORS_SHOWN_MAX = 20


class ErrorKind(Enum):
    """Each kind with the status that HTTP has for it and a sentence for the caller."""

    MALFORMED_REQUEST = (400, "The request could not be understood.")
    INVALID_FIELDS = (400, "The request has invalid fields.")
    UNAUTHENTICATED = (401, "The credential is missing, malformed or revoked.")
    FORBIDDEN = (403, "The credential does not allow this operation.")
    ADDRESS_BLOCKED = (403, "The credential may not be used from this address.")
    NOT_FOUND = (404, "There is nothing at this address.")
    METHOD_NOT_ALLOWED = (405, "This address does not support the method.")
    NOT_ACCEPTABLE = (406, "The answer is not available in a form that was asked for.")
    REQUEST_TIMEOUT = (408, "The request was not complete in time.")
    CONFLICT = (409, "The request conflicts with the present state.")
    GONE = (410, "What was here is gone.")
    PRECONDITION_FAILED = (412, "The resource has changed since the version that was named.")
    BODY_TOO_LARGE = (413, "The body is too large.")
    UNSUPPORTED_MEDIA_TYPE = (415, "The content type or content encoding is not supported.")
    EXPECTATION_FAILED = (417, "The expectation is not supported.")
    MISDIRECTED = (421, "This server does not answer for the host that was named.")
    UNPROCESSABLE = (422, "The request is well formed but cannot be carried out.")
    PRECONDITION_REQUIRED = (428, "The request must name the version that it changes.")
    RATE_LIMITED = (429, "Too many requests.")
    INTERNAL = (500, "The request could not be completed because of an internal error.")
    UNAVAILABLE = (503, "The service is temporarily unavailable. Please try again.")

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message


_KINDS_OF_STATUSES = {kind.status: kind for kind in reversed(ErrorKind)}


def kind_of(status: int) -> ErrorKind:
    """The kind for a status of 400 or more."""
    return _KINDS_OF_STATUSES.get(status, ErrorKind.INTERNAL if status >= 500 else ErrorKind.MALFORMED_REQUEST)


class Refused(Exception):
    """The request is not carried out. `code`, when given, is the surface's own; otherwise the kind decides it.

    `fields` says what is wrong field by field; beyond 20 the rest is only counted. `details` are further facts for the
    answer (`retry_after_ms`), `headers` go out as they are (Allow, Retry-After).
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str | None = None,
        *,
        code: str | None = None,
        fields: Sequence[FieldError] = (),
        details: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind.name)
        self.kind = kind
        self.code = code
        self.message = kind.message if message is None else message
        self.fields = _first(fields)
        self.details = details or {}
        self.headers = headers or {}

    @property
    def status(self) -> int:
        """HTTP's status for the kind. A surface whose document has another one sends that."""
        return self.kind.status


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """One row of a surface's own catalogue. A handler raises what `refused()` makes of it."""

    kind: ErrorKind
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return self.kind.status

    def refused(
        self,
        message: str | None = None,
        *,
        fields: Sequence[FieldError] = (),
        details: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Refused:
        """The exception to raise; `message` and `headers` replace the catalogue's where they are given."""
        return Refused(
            self.kind,
            self.message if message is None else message,
            code=self.code,
            fields=fields,
            details=details,
            headers=self.headers if headers is None else headers,
        )


Renderer = Callable[[Refused, str], web.Response]
"""(refusal, request id) → the answer in the surface's own format. Nothing else formats errors."""


def _first(fields: Sequence[FieldError]) -> tuple[FieldError, ...]:
    if len(fields) <= FIELD_ERRORS_SHOWN_MAX:
        return tuple(fields)
    more = len(fields) - FIELD_ERRORS_SHOWN_MAX
    return (*fields[:FIELD_ERRORS_SHOWN_MAX], FieldError("", f"and {more} more"))
