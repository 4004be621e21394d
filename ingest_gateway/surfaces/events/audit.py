"""`GET /v1/audit`: who changed what in the key's workspace and environment, oldest first.

The list holds every change that any gateway had answered when the request arrived: it waits until projection has passed
all that is on `audit`. A key that is limited to streams is shown changes of what it can see, and its own.
"""

from aiohttp import web

from domain.security.principals import AUDIT_READ, Principal
from ingest_gateway.http.queries import read_query, whole_number
from ingest_gateway.read_model import ReadModelUnavailable
from ingest_gateway.read_model.audit_pages import AuditFilter, AuditReach
from ingest_gateway.read_model.cursors import CursorInvalid, Cursors
from ingest_gateway.read_model.views import audit_item
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.errors import READ_MODEL_BEHIND
from ingest_gateway.surfaces.shared.parameters import LIMIT_DEFAULT, LIMIT_MAX, invalid, time_range
from ingest_gateway.surfaces.shared.reach import seen
from ingest_gateway.surfaces.shared.reads import audit_passed
from ingest_gateway.surfaces.shared.requests import caller
from operations import clock
from schemas.errors import FieldError

PARAMETERS = ("actor", "action", "from", "to", "limit", "cursor")


async def list_audit(request: web.Request) -> web.Response:
    services, principal = caller(request, AUDIT_READ)
    parameters = read_query(request, PARAMETERS)
    limit = whole_number(parameters, "limit", minimum=1, maximum=LIMIT_MAX, default=LIMIT_DEFAULT)
    first, last = time_range(parameters)
    chosen = AuditFilter(parameters.get("actor"), parameters.get("action"), first, last)
    scope = principal.workspace, principal.environment
    cursors, bound_to = services.cursors, chosen.bound_to(*scope)
    after = _after(cursors, bound_to, parameters.get("cursor"))
    await audit_passed(services)
    try:
        page = await services.reads.audit_page(*scope, chosen, after, limit, audit_reach(services, principal))
    except ReadModelUnavailable:
        raise READ_MODEL_BEHIND.refused() from None
    following = None
    if page.next_offset is not None:
        following = cursors.encrypt(bound_to, page.next_offset.to_bytes(8, "big"), clock.now_ms())
    view = {
        "object": "list",
        "data": [audit_item(row) for row in page.rows],
        "has_more": following is not None,
        "next_cursor": following,
    }
    return json_response(view)


def audit_reach(services: Services, principal: Principal) -> AuditReach | None:
    """None: all. Of what is gone a limited key sees what it did itself."""
    if not principal.is_limited:
        return None
    view, scope = services.control.view, (principal.workspace, principal.environment)
    there = [
        *(one for one in view.streams.values() if (one.workspace, one.environment) == scope),
        *view.workflows_of(*scope),
        *view.endpoints_of(*scope),
        *view.keys_of(*scope),
        *(one for one in view.replays.values() if (one.workspace, one.environment) == scope),
    ]
    return AuditReach(principal.key_id, tuple(f"{one.kind}/{one.id}" for one in seen(view, principal, there)))


def _after(cursors: Cursors, bound_to: bytes, cursor: str | None) -> int:
    if cursor is None:
        return -1
    try:
        return int.from_bytes(cursors.decrypt(bound_to, cursor, clock.now_ms()), "big")
    except CursorInvalid as error:
        raise invalid(FieldError("cursor", str(error))) from None


ROUTES = (web.get("/v1/audit", list_audit, name="list_audit"),)
