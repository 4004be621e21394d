"""The spine's errors: its codes, and the one place that writes them. Source: seeds/002, Error Codes (S-047 to S-053).

Every error is `{"error": {"code", "message", "field"}}`; `field` is null where no field is to blame. Of several faults
the first is told: what is missing, then the type, then the others in the body's order.
"""

import orjson
from aiohttp import hdrs, web

from ingest_gateway.http.faults import Fault, FaultKind, FieldFault, Refused
from schemas.event_fields import REQUIRED
from schemas.event_rules import EventInvalid

RETRY_AFTER_SECONDS = "1"
_RETRY: dict[str, str] = {hdrs.RETRY_AFTER: RETRY_AFTER_SECONDS}

CODES: dict[FaultKind, str] = {
    FaultKind.MALFORMED_REQUEST: "invalid_request",
    FaultKind.INVALID_FIELDS: "invalid_request",
    FaultKind.UNAUTHENTICATED: "unauthorized",
    FaultKind.FORBIDDEN: "forbidden",
    FaultKind.ADDRESS_BLOCKED: "forbidden",
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

SHOWN_AS = {"subscription_not_found": "not_found"}
"""Codes of the control agent that are called otherwise here (DECISIONS S-032)."""

INVALID_EVENT_TYPE = Fault(FaultKind.INVALID_FIELDS, "invalid_event_type", "The event's type is not valid.")
MISSING_REQUIRED_FIELD = Fault(FaultKind.INVALID_FIELDS, "missing_required_field", "type, source or data is missing.")
INVALID_REQUEST = Fault(FaultKind.INVALID_FIELDS, "invalid_request", "The request is not valid.")
INVALID_WEBHOOK_URL = Fault(
    FaultKind.INVALID_FIELDS, "invalid_webhook_url", "The webhook URL must be an https endpoint that can be reached."
)
NOT_FOUND = Fault(FaultKind.NOT_FOUND, "not_found", "There is no such thing in this organization.")
FORBIDDEN_ORG = Fault(FaultKind.FORBIDDEN, "forbidden", "The key is not of this organization.")
DUPLICATE_EVENT = Fault(
    FaultKind.CONFLICT, "duplicate_event", "The idempotency key was used with another event in the last 24 hours."
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


def render(refused: Refused, request_id: str) -> web.Response:
    """The surface's `Renderer`."""
    response = web.Response(
        body=orjson.dumps({"error": error_of(refused)}),
        status=refused.status,
        content_type="application/json",
        headers=dict(refused.headers),
    )
    if refused.kind is FaultKind.UNAUTHENTICATED:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    elif refused.kind is FaultKind.UNAVAILABLE:
        response.headers.setdefault(hdrs.RETRY_AFTER, RETRY_AFTER_SECONDS)
    return response


def error_of(refused: Refused) -> dict[str, str | None]:
    """The document's error object, for an answer or an item of a batch."""
    code = refused.code or CODES[refused.kind]
    fault = refused.fields[0] if refused.fields else None
    message = refused.message
    if fault is not None and refused.code in (None, "invalid_request"):
        message = f"{fault.field}: {fault.message}" if fault.field else fault.message
    return {"code": SHOWN_AS.get(code, code), "message": message, "field": None if fault is None else fault.field}


def invalid_event(error: EventInvalid) -> Refused:
    """The one fault of an event that is told."""
    missing = [fault for fault in error.faults if fault.message == REQUIRED]
    if missing:
        field = missing[0].field
        return MISSING_REQUIRED_FIELD.refused(f"The field {field} is required.", fields=[FieldFault(field, REQUIRED)])
    typed = [fault for fault in error.faults if fault.field == "type"]
    if typed:
        return INVALID_EVENT_TYPE.refused(typed[0].message, fields=[FieldFault(*typed[0])])
    return INVALID_REQUEST.refused(fields=[FieldFault(*fault) for fault in error.faults])


def invalid(*faults: FieldFault) -> Refused:
    return INVALID_REQUEST.refused(fields=faults)
