"""The burn surface's errors: `{"error": {"code", "message", "request_id", "details"}}` (B-018)."""

from typing import Any

from aiohttp import web

from ingest_gateway.http.errors import ErrorAnswer, ErrorKind, Refused
from ingest_gateway.surfaces.shared.errors import RETRY, USUAL_CODES, answered, field_errors

CODES = USUAL_CODES

OTHER_ORGANIZATION = ErrorAnswer(
    ErrorKind.FORBIDDEN, "forbidden", "The key belongs to another organization than org_id."
)
NOT_CONFIRMED = ErrorAnswer(
    ErrorKind.UNAVAILABLE,
    "unavailable",
    "Not confirmed as stored. Send it again; with an event_id each, or an Idempotency-Key, nothing counts twice.",
    headers=RETRY,
)
NO_VERDICT = ErrorAnswer(
    ErrorKind.UNAVAILABLE,
    "unavailable",
    "The guardrails did not answer in time; the request may still take effect. Sending it again does no harm.",
    headers=RETRY,
)


def render(refused: Refused, request_id: str) -> web.Response:
    """Writes an error in the surface's format; the surface's `Renderer`."""
    details: dict[str, Any] = dict(refused.details)
    if refused.fields:
        details["errors"] = field_errors(refused)
    error = {"code": refused.code or CODES[refused.kind], "message": refused.message, "request_id": request_id}
    return answered(refused, {"error": error | {"details": details}}, challenge=None)
