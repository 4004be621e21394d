"""The spine's errors: its codes, and the one place that writes them. Rows of docs/requirements.md: S-047 to S-053.

Every error is `{"error": {"code", "message", "field"}}`; `field` is null where no field is to blame. Of several faults
the first is told: what is missing, then the type, then the others in the body's order.
"""

from aiohttp import web

from domain.events.fields import REQUIRED
from domain.events.rules import EventInvalid
from ingest_gateway.http.errors import Fault, FaultKind, FieldFault, Refused
from ingest_gateway.surfaces.shared.errors import USUAL_CODES, answered

CODES = USUAL_CODES | {FaultKind.ADDRESS_BLOCKED: "forbidden"}

SHOWN_AS = {"subscription_not_found": "not_found"}
"""Codes of the control agent that are called otherwise here (S-032)."""

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


def render(refused: Refused, request_id: str) -> web.Response:
    """The surface's `Renderer`."""
    return answered(refused, {"error": error_of(refused)})


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
