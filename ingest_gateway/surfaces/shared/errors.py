"""What the surfaces' errors have in common: the usual codes and errors, an agent's refusal, the answer around it.

Each surface's `errors.py` has what its document does differently, and is the only place that writes its error format.
"""

from typing import Any

import orjson
from aiohttp import hdrs, web

from ingest_gateway.http.errors import ErrorAnswer, ErrorKind, Refused, kind_of
from schemas.commands.answers import decode_refusal
from schemas.errors import FieldError
from schemas.records import Verdict

RETRY_AFTER_SECONDS = "1"
RETRY: dict[str, str] = {hdrs.RETRY_AFTER: RETRY_AFTER_SECONDS}
JSON = "application/json"

USUAL_CODES: dict[ErrorKind, str] = {
    ErrorKind.MALFORMED_REQUEST: "invalid_request",
    ErrorKind.INVALID_FIELDS: "invalid_request",
    ErrorKind.UNAUTHENTICATED: "unauthorized",
    ErrorKind.FORBIDDEN: "forbidden",
    ErrorKind.ADDRESS_BLOCKED: "address_blocked",
    ErrorKind.NOT_FOUND: "not_found",
    ErrorKind.METHOD_NOT_ALLOWED: "method_not_allowed",
    ErrorKind.NOT_ACCEPTABLE: "not_acceptable",
    ErrorKind.REQUEST_TIMEOUT: "request_timeout",
    ErrorKind.CONFLICT: "conflict",
    ErrorKind.GONE: "gone",
    ErrorKind.PRECONDITION_FAILED: "precondition_failed",
    ErrorKind.BODY_TOO_LARGE: "payload_too_large",
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    ErrorKind.EXPECTATION_FAILED: "expectation_failed",
    ErrorKind.MISDIRECTED: "misdirected_request",
    ErrorKind.UNPROCESSABLE: "invalid_request",
    ErrorKind.PRECONDITION_REQUIRED: "precondition_required",
    ErrorKind.RATE_LIMITED: "rate_limit_exceeded",
    ErrorKind.INTERNAL: "internal_error",
    ErrorKind.UNAVAILABLE: "unavailable",
}
"""For an error that names no code of its own; every kind has one."""

BUSY = ErrorAnswer(
    ErrorKind.UNAVAILABLE,
    "unavailable",
    "Too much is under way. Nothing was stored; please send it again.",
    headers=RETRY,
)
NOT_CONFIRMED = ErrorAnswer(
    ErrorKind.UNAVAILABLE, "unavailable", "Not confirmed as stored. Send it again with the same key.", headers=RETRY
)
READ_MODEL_BEHIND = ErrorAnswer(
    ErrorKind.UNAVAILABLE, "read_model_behind", "The answer is not up to date yet. Please ask again.", headers=RETRY
)

# What a path names (reach.py).
STREAM_NOT_FOUND = ErrorAnswer(
    ErrorKind.NOT_FOUND,
    "stream_not_found",
    "No such stream exists in this workspace and environment, or the key is not scoped to it.",
)
KEY_NOT_FOUND = ErrorAnswer(ErrorKind.NOT_FOUND, "key_not_found", "There is no key with this id.")
WORKFLOW_NOT_FOUND = ErrorAnswer(ErrorKind.NOT_FOUND, "workflow_not_found", "There is no such workflow.")
ENDPOINT_NOT_FOUND = ErrorAnswer(
    ErrorKind.NOT_FOUND, "webhook_endpoint_not_found", "There is no webhook endpoint with this id."
)
REPLAY_NOT_FOUND = ErrorAnswer(ErrorKind.NOT_FOUND, "replay_not_found", "There is no replay with this id.")


def answered(
    refused: Refused, body: dict[str, Any], *, content_type: str = JSON, challenge: str | None = "Bearer"
) -> web.Response:
    """The answer around a surface's error object. `challenge`: how to authenticate, where the document has one."""
    response = web.Response(
        body=orjson.dumps(body), status=refused.status, content_type=content_type, headers=dict(refused.headers)
    )
    if refused.kind is ErrorKind.UNAUTHENTICATED and challenge is not None:
        response.headers[hdrs.WWW_AUTHENTICATE] = challenge
    elif refused.kind is ErrorKind.UNAVAILABLE:
        response.headers.setdefault(hdrs.RETRY_AFTER, RETRY_AFTER_SECONDS)
    return response


def refused_by(verdict: Verdict) -> Refused:
    """An agent's refusal as the caller gets it: its status, code, message and facts."""
    if not verdict.body:
        return Refused(kind_of(verdict.status or 500))
    body = decode_refusal(verdict.body)
    code = None if verdict.status in (401, 403) else body.code  # the surface has its own name for these
    fields = [FieldError(error.field, error.message) for error in body.details.get("errors", [])]
    return Refused(kind_of(verdict.status), body.message, code=code, fields=fields, details=body.facts)


def field_errors(refused: Refused) -> list[dict[str, str]]:
    return [{"field": error.field, "message": error.message} for error in refused.fields]
