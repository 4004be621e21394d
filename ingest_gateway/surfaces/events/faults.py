"""The events surface's errors: its codes, and the one place that writes them. Source: seeds/000, Error handling.

Every error is `{"error": {"code", "message", "request_id", "details"}}`; `details.errors` names each field at fault.
The document's table has seven codes; the others stand for what it leaves open (DECISIONS).
"""

from typing import Any

import orjson
from aiohttp import hdrs, web

from ingest_gateway.http.faults import Fault, FaultKind, FieldFault, Refused, kind_of
from schemas.commands import decode_fault
from schemas.records import Verdict

RETRY_AFTER_SECONDS = "1"
_RETRY: dict[str, str] = {hdrs.RETRY_AFTER: RETRY_AFTER_SECONDS}

CODES: dict[FaultKind, str] = {
    FaultKind.MALFORMED_REQUEST: "invalid_request",
    FaultKind.INVALID_FIELDS: "invalid_request",
    FaultKind.UNAUTHENTICATED: "authentication_failed",
    FaultKind.FORBIDDEN: "forbidden",
    FaultKind.ADDRESS_BLOCKED: "address_blocked",
    FaultKind.NOT_FOUND: "not_found",
    FaultKind.METHOD_NOT_ALLOWED: "method_not_allowed",
    FaultKind.NOT_ACCEPTABLE: "not_acceptable",
    FaultKind.REQUEST_TIMEOUT: "request_timeout",
    FaultKind.CONFLICT: "conflict",
    FaultKind.GONE: "gone",
    FaultKind.PRECONDITION_FAILED: "precondition_failed",
    FaultKind.BODY_TOO_LARGE: "payload_too_large",
    FaultKind.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    FaultKind.EXPECTATION_FAILED: "expectation_failed",
    FaultKind.MISDIRECTED: "misdirected_request",
    FaultKind.UNPROCESSABLE: "invalid_request",
    FaultKind.PRECONDITION_REQUIRED: "precondition_required",
    FaultKind.RATE_LIMITED: "rate_limit_exceeded",
    FaultKind.INTERNAL: "internal_error",
    FaultKind.UNAVAILABLE: "unavailable",
}
"""For a fault that names no code of its own."""

INVALID_EVENT = Fault(FaultKind.INVALID_FIELDS, "invalid_request", "The event is not valid: see details.errors.")
INVALID_BATCH = Fault(FaultKind.INVALID_FIELDS, "invalid_request", "The batch can't be read: see details.errors.")
STREAM_NOT_FOUND = Fault(
    FaultKind.NOT_FOUND,
    "stream_not_found",
    "No such stream exists in this workspace and environment, or the key is not scoped to it.",
)
KEY_NOT_FOUND = Fault(FaultKind.NOT_FOUND, "key_not_found", "There is no key with this id.")
WORKFLOW_NOT_FOUND = Fault(FaultKind.NOT_FOUND, "workflow_not_found", "There is no such workflow.")
ENDPOINT_NOT_FOUND = Fault(
    FaultKind.NOT_FOUND, "webhook_endpoint_not_found", "There is no webhook endpoint with this id."
)
REPLAY_NOT_FOUND = Fault(FaultKind.NOT_FOUND, "replay_not_found", "There is no replay with this id.")
EVENT_NOT_FOUND = Fault(FaultKind.NOT_FOUND, "event_not_found", "There is no event with this id.")
DUPLICATE_EVENT = Fault(
    FaultKind.CONFLICT, "duplicate_event", "The idempotency key was used with another payload in the last 24 hours."
)
NOT_CONFIRMED = Fault(
    FaultKind.UNAVAILABLE, "unavailable", "Not confirmed as stored. Send it again with the same key.", headers=_RETRY
)
BUSY = Fault(
    FaultKind.UNAVAILABLE,
    "unavailable",
    "Too much is under way. Nothing was stored; please send it again.",
    headers=_RETRY,
)
READ_MODEL_BEHIND = Fault(
    FaultKind.UNAVAILABLE, "read_model_behind", "The answer is not up to date yet. Please ask again.", headers=_RETRY
)


def code_of(refused: Refused) -> str:
    return refused.code or CODES[refused.kind]


def error_of(refused: Refused, request_id: str) -> dict[str, Any]:
    """The document's error object, for an answer or an item of a batch."""
    details = dict(refused.details)
    if refused.fields:
        details["errors"] = [{"field": fault.field, "message": fault.message} for fault in refused.fields]
    return {"code": code_of(refused), "message": refused.message, "request_id": request_id, "details": details}


def render(refused: Refused, request_id: str) -> web.Response:
    """The surface's `Renderer`."""
    response = web.Response(
        body=orjson.dumps({"error": error_of(refused, request_id)}),
        status=refused.status,
        content_type="application/json",
        headers=dict(refused.headers),
    )
    if refused.kind is FaultKind.UNAUTHENTICATED:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    elif refused.kind is FaultKind.UNAVAILABLE:
        response.headers.setdefault(hdrs.RETRY_AFTER, RETRY_AFTER_SECONDS)
    return response


def refused_by(verdict: Verdict) -> Refused:
    """What an agent's refusal means to the caller: its status, code and words."""
    if not verdict.body:
        return Refused(kind_of(verdict.status or 500))
    fault = decode_fault(verdict.body)
    fields = [FieldFault(error.field, error.message) for error in fault.details.get("errors", [])]
    return Refused(kind_of(verdict.status), fault.message, code=fault.code, fields=fields)
