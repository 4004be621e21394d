"""The work surface's errors as RFC 9457 problems: its codes, and the one place that writes them.

`type` is the code with hyphens behind the document's address, `title` the code; `errors` names each field at fault,
other members are facts (`missingScope`, `currentVersion`, `retryAfterMs`). Source: seeds/001, Error format; X-31.
"""

from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import hdrs, web

from ingest_gateway.http.faults import Fault, FaultKind, FieldFault, Refused, kind_of
from ingest_gateway.identity.principals import MISSING_SCOPE
from schemas.commands import decode_fault
from schemas.records import Verdict

PROBLEM = "application/problem+json"
TYPES = "https://api.atlas-todo.com/errors/"
RETRY_AFTER_SECONDS = "1"
_RETRY: dict[str, str] = {hdrs.RETRY_AFTER: RETRY_AFTER_SECONDS}
INSUFFICIENT_SCOPE = "insufficient_scope"

CODES: dict[FaultKind, str] = {
    FaultKind.MALFORMED_REQUEST: "invalid_request",
    FaultKind.INVALID_FIELDS: "invalid_request",
    FaultKind.UNAUTHENTICATED: "unauthorized",
    FaultKind.FORBIDDEN: "forbidden",
    FaultKind.ADDRESS_BLOCKED: "pat-ip-blocked",
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
    FaultKind.UNPROCESSABLE: "unprocessable",
    FaultKind.PRECONDITION_REQUIRED: "precondition_required",
    FaultKind.RATE_LIMITED: "rate_limit_exceeded",
    FaultKind.INTERNAL: "internal_error",
    FaultKind.UNAVAILABLE: "unavailable",
}
"""For a fault that names no code of its own."""

PROJECT_NOT_FOUND = Fault(FaultKind.NOT_FOUND, "project_not_found", "There is no project with this id.")
TASK_NOT_FOUND = Fault(FaultKind.NOT_FOUND, "task_not_found", "There is no task with this id.")
TOKEN_NOT_FOUND = Fault(FaultKind.NOT_FOUND, "token_not_found", "There is no token with this id.")
WEBHOOK_NOT_FOUND = Fault(FaultKind.NOT_FOUND, "webhook_not_found", "There is no webhook with this id.")
DELIVERY_NOT_FOUND = Fault(FaultKind.NOT_FOUND, "delivery_not_found", "The webhook has no delivery with this id.")
DELIVERY_NOT_REPLAYABLE = Fault(
    FaultKind.UNPROCESSABLE, "delivery_not_replayable", "The event of this delivery is no longer kept."
)
NOT_CONFIRMED = Fault(
    FaultKind.UNAVAILABLE, "unavailable", "Not confirmed. Send it again with the same Idempotency-Key.", headers=_RETRY
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
UNKNOWN_PROJECT = Fault(FaultKind.UNPROCESSABLE, "unknown_project", "The request names a project that does not exist.")
IN_FLIGHT = Fault(
    FaultKind.CONFLICT,
    "idempotency_in_flight",
    "The first request with this key is still under way. Ask again for its answer.",
    headers=_RETRY,
)
AI_NOT_CONFIGURED = Fault(
    FaultKind.UNAVAILABLE, "ai_not_configured", "This installation has no language model (ATLAS_LLM_BASE_URL)."
)
AI_UNAVAILABLE = Fault(
    FaultKind.UNAVAILABLE, "ai_unavailable", "The language model did not answer. Please try again.", headers=_RETRY
)
AI_UNUSABLE = Fault(
    FaultKind.UNAVAILABLE, "ai_unusable", "The language model's answer can't be used. Please try again.", headers=_RETRY
)
AI_BLOCKED = Fault(
    FaultKind.RATE_LIMITED, "ai_blocked", "The tenant's cost guardrails have stopped calls of language models."
)


def problem(refused: Refused, request_id: str) -> dict[str, Any]:
    details = dict(refused.details)
    missing = details.pop(MISSING_SCOPE, None)
    code = refused.code or (CODES[refused.kind] if missing is None else INSUFFICIENT_SCOPE)
    view: dict[str, Any] = {
        "type": TYPES + code.replace("_", "-"),
        "title": code,
        "status": refused.status,
        "detail": refused.message if missing is None else f"PAT is missing the '{missing}' scope.",
    }
    if refused.fields:
        view["errors"] = [{"field": fault.field, "message": fault.message} for fault in refused.fields]
    if missing is not None:
        view["missingScope"] = missing
    return view | {_camel(name): value for name, value in details.items()} | {"requestId": request_id}


def render(refused: Refused, request_id: str) -> web.Response:
    """The surface's `Renderer`."""
    response = web.Response(
        body=orjson.dumps(problem(refused, request_id)),
        status=refused.status,
        content_type=PROBLEM,
        headers=dict(refused.headers),
    )
    if refused.kind is FaultKind.UNAUTHENTICATED:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    elif refused.kind is FaultKind.UNAVAILABLE:
        response.headers.setdefault(hdrs.RETRY_AFTER, RETRY_AFTER_SECONDS)
    return response


def refused_by(verdict: Verdict) -> Refused:
    """What the control agent's refusal means to the caller: its status, code, words and facts."""
    if not verdict.body:
        return Refused(kind_of(verdict.status or 500))
    fault = decode_fault(verdict.body)
    fields = [FieldFault(error.field, error.message) for error in fault.details.get("errors", [])]
    return Refused(kind_of(verdict.status), fault.message, code=fault.code, fields=fields, details=fault.facts)


def invalid(faults: Iterable[FieldFault]) -> Refused:
    return Refused(FaultKind.INVALID_FIELDS, fields=list(faults))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))
