"""The burn surface's errors: `{"error": {"code", "message", "request_id", "details"}}` (DECISIONS B-018)."""

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
    FaultKind.UNAUTHENTICATED: "unauthorized",
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

OTHER_ORGANIZATION = Fault(FaultKind.FORBIDDEN, "forbidden", "The key belongs to another organization than org_id.")
NOT_CONFIRMED = Fault(
    FaultKind.UNAVAILABLE,
    "unavailable",
    "Not confirmed as stored. Send it again; with an event_id each, or an Idempotency-Key, nothing counts twice.",
    headers=_RETRY,
)
BUSY = Fault(
    FaultKind.UNAVAILABLE,
    "unavailable",
    "Too much is under way. Nothing was stored; please send it again.",
    headers=_RETRY,
)
NO_VERDICT = Fault(
    FaultKind.UNAVAILABLE,
    "unavailable",
    "The guardrails did not answer in time; what was asked may still be done. Asking again does no harm.",
    headers=_RETRY,
)
NOT_READY = Fault(
    FaultKind.UNAVAILABLE, "unavailable", "The gateway has just started. Please send it again.", headers=_RETRY
)
READ_MODEL_BEHIND = Fault(
    FaultKind.UNAVAILABLE, "read_model_behind", "The answer is not up to date yet. Please ask again.", headers=_RETRY
)


def render(refused: Refused, request_id: str) -> web.Response:
    """The surface's `Renderer`."""
    details: dict[str, Any] = dict(refused.details)
    if refused.fields:
        details["errors"] = [{"field": fault.field, "message": fault.message} for fault in refused.fields]
    error = {"code": refused.code or CODES[refused.kind], "message": refused.message, "request_id": request_id}
    response = web.Response(
        body=orjson.dumps({"error": error | {"details": details}}),
        status=refused.status,
        content_type="application/json",
        headers=dict(refused.headers),
    )
    if refused.kind is FaultKind.UNAVAILABLE:
        response.headers.setdefault(hdrs.RETRY_AFTER, RETRY_AFTER_SECONDS)
    return response


def refused_by(verdict: Verdict) -> Refused:
    """What the guardrails' refusal means to the caller: its status, code and words."""
    if not verdict.body:
        return Refused(kind_of(verdict.status or 500))
    fault = decode_fault(verdict.body)
    fields = [FieldFault(error.field, error.message) for error in fault.details.get("errors", [])]
    return Refused(kind_of(verdict.status), fault.message, code=fault.code, fields=fields)
