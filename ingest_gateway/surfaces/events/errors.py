"""The events surface's errors: its codes, and the one place that writes them.

Every error is `{"error": {"code", "message", "request_id", "details"}}`; `details.errors` names each wrong field.
The document's table has seven codes; the others are for what it leaves open.
"""

from typing import Any

from aiohttp import web

from ingest_gateway.http.errors import ErrorAnswer, ErrorKind, Refused
from ingest_gateway.surfaces.shared.errors import USUAL_CODES, answered, field_errors

CODES = USUAL_CODES | {ErrorKind.UNAUTHENTICATED: "authentication_failed"}

INVALID_EVENT = ErrorAnswer(ErrorKind.INVALID_FIELDS, "invalid_request", "The event is not valid: see details.errors.")
INVALID_BATCH = ErrorAnswer(ErrorKind.INVALID_FIELDS, "invalid_request", "The batch can't be read: see details.errors.")
EVENT_NOT_FOUND = ErrorAnswer(ErrorKind.NOT_FOUND, "event_not_found", "There is no event with this id.")
DUPLICATE_EVENT = ErrorAnswer(
    ErrorKind.CONFLICT, "duplicate_event", "The idempotency key was used with another payload in the last 24 hours."
)


def code_of(refused: Refused) -> str:
    return refused.code or CODES[refused.kind]


def error_of(refused: Refused, request_id: str) -> dict[str, Any]:
    """The document's error object, for an answer or an item of a batch."""
    details = dict(refused.details)
    if refused.fields:
        details["errors"] = field_errors(refused)
    return {"code": code_of(refused), "message": refused.message, "request_id": request_id, "details": details}


def render(refused: Refused, request_id: str) -> web.Response:
    """The surface's `Renderer`."""
    return answered(refused, {"error": error_of(refused, request_id)})
