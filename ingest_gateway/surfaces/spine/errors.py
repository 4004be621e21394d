"""The spine's errors: its codes, and the one place that writes them. Rows S-047 to S-053 of docs/requirements.md.

Every error is `{"error": {"code", "message", "field"}}`; `field` is null where no field is to blame. Of several errors
the answer has the first: what is missing, then the type, then the others in the order of the body.
"""

from aiohttp import web

from domain.events.fields import REQUIRED
from domain.events.rules import EventInvalid
from ingest_gateway.http.errors import ErrorAnswer, ErrorKind, Refused
from ingest_gateway.surfaces.shared.errors import USUAL_CODES, answered
from schemas.errors import FieldError

CODES = USUAL_CODES | {ErrorKind.ADDRESS_BLOCKED: "forbidden"}

SHOWN_AS = {"subscription_not_found": "not_found"}
"""Codes of the control agent that are called otherwise here (S-032)."""

INVALID_EVENT_TYPE = ErrorAnswer(ErrorKind.INVALID_FIELDS, "invalid_event_type", "The event's type is not valid.")
MISSING_REQUIRED_FIELD = ErrorAnswer(
    ErrorKind.INVALID_FIELDS, "missing_required_field", "type, source or data is missing."
)
INVALID_REQUEST = ErrorAnswer(ErrorKind.INVALID_FIELDS, "invalid_request", "The request is not valid.")
INVALID_WEBHOOK_URL = ErrorAnswer(
    ErrorKind.INVALID_FIELDS, "invalid_webhook_url", "The webhook URL must be an https endpoint that can be reached."
)
NOT_FOUND = ErrorAnswer(ErrorKind.NOT_FOUND, "not_found", "There is no such thing in this organization.")
FORBIDDEN_ORG = ErrorAnswer(ErrorKind.FORBIDDEN, "forbidden", "The key is not of this organization.")
DUPLICATE_EVENT = ErrorAnswer(
    ErrorKind.CONFLICT, "duplicate_event", "The idempotency key was used with another event in the last 24 hours."
)


def render(refused: Refused, request_id: str) -> web.Response:
    """The surface's `Renderer`."""
    return answered(refused, {"error": error_of(refused)})


def error_of(refused: Refused) -> dict[str, str | None]:
    """The document's error object, for an answer or an item of a batch."""
    code = refused.code or CODES[refused.kind]
    error = refused.fields[0] if refused.fields else None
    message = refused.message
    if error is not None and refused.code in (None, "invalid_request"):
        message = f"{error.field}: {error.message}" if error.field else error.message
    return {"code": SHOWN_AS.get(code, code), "message": message, "field": None if error is None else error.field}


def invalid_event(invalid: EventInvalid) -> Refused:
    """The one error of an event that the answer names."""
    missing = [error for error in invalid.errors if error.message == REQUIRED]
    if missing:
        return MISSING_REQUIRED_FIELD.refused(f"The field {missing[0].field} is required.", fields=missing[:1])
    typed = [error for error in invalid.errors if error.field == "type"]
    if typed:
        return INVALID_EVENT_TYPE.refused(typed[0].message, fields=typed[:1])
    return INVALID_REQUEST.refused(fields=invalid.errors)


def invalid(*errors: FieldError) -> Refused:
    return INVALID_REQUEST.refused(fields=errors)
