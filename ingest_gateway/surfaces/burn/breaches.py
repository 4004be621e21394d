"""`GET /api/guardrails/breaches`: the trips of the guardrails, newest first.

A request first waits until projection has passed everything that is on `audit`, so the answer holds every trip that
was reported before.
"""

from aiohttp import web

from ingest_gateway.http.queries import read_query, whole_number
from ingest_gateway.read_model import ReadModelUnavailable
from ingest_gateway.read_model.breach_pages import BreachFilter
from ingest_gateway.read_model.cursors import CursorInvalid, Cursors
from ingest_gateway.services import SERVICES
from ingest_gateway.surfaces.burn.views import breach_view
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.errors import READ_MODEL_BEHIND
from ingest_gateway.surfaces.shared.parameters import LIMIT_DEFAULT, LIMIT_MAX, invalid, time_range
from ingest_gateway.surfaces.shared.reads import audit_passed
from operations import clock
from schemas.errors import FieldError
from schemas.guardrail_policy import Layer

PARAMETERS = ("layer", "from", "to", "limit", "cursor")
LAYERS = ", ".join(Layer)


async def list_breaches(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    workspace = services.authenticate(request).workspace
    parameters = read_query(request, PARAMETERS)
    limit = whole_number(parameters, "limit", minimum=1, maximum=LIMIT_MAX, default=LIMIT_DEFAULT)
    layer = parameters.get("layer")
    if layer is not None and layer not in tuple(Layer):
        raise invalid(FieldError("layer", f"Must be one of {LAYERS}."))
    chosen = BreachFilter(layer, *time_range(parameters))
    cursors, bound_to = services.cursors, chosen.bound_to(workspace)
    before = _before(cursors, bound_to, parameters.get("cursor"))
    await audit_passed(services)
    try:
        page = await services.reads.breach_page(workspace, chosen, before, limit)
    except ReadModelUnavailable:
        raise READ_MODEL_BEHIND.refused() from None
    following = None
    if page.next_place is not None:
        following = cursors.encrypt(bound_to, page.next_place.encode(), clock.now_ms())
    view = {
        "object": "list",
        "data": [breach_view(row) for row in page.rows],
        "has_more": following is not None,
        "next_cursor": following,
    }
    return json_response(view)


def _before(cursors: Cursors, bound_to: bytes, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    try:
        return cursors.decrypt(bound_to, cursor, clock.now_ms()).decode()
    except CursorInvalid as error:
        raise invalid(FieldError("cursor", str(error))) from None


ROUTES = (web.get("/api/guardrails/breaches", list_breaches, name="list_breaches"),)
