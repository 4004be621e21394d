"""`GET /v1/activity`: who changed what in the caller's tenant, by which token and route, oldest first (W-018).

The list holds every change that any gateway had answered when the request arrived: it waits until projection has passed
all that is on `audit`.
"""

from typing import Any

from aiohttp import web
from sqlalchemy import Row

from domain.security.principals import AUDIT_READ
from ingest_gateway.http.queries import read_query, whole_number
from ingest_gateway.read_model.audit_pages import AuditFilter
from ingest_gateway.surfaces.shared.reads import audit_passed
from ingest_gateway.surfaces.shared.requests import caller
from ingest_gateway.surfaces.work.reads import LIMIT_DEFAULT, LIMIT_MAX, Pages, asked
from schemas.times import rfc3339


async def list_activity(request: web.Request) -> web.Response:
    services, principal = caller(request, AUDIT_READ)
    parameters = read_query(request, ("actor", "action", "limit", "cursor"))
    limit = whole_number(parameters, "limit", minimum=1, maximum=LIMIT_MAX, default=LIMIT_DEFAULT)
    chosen = AuditFilter(parameters.get("actor"), parameters.get("action"), None, None)
    scope = principal.workspace, principal.environment
    pages = Pages(services, ("activity", *scope, chosen))
    after = pages.offset(parameters.get("cursor")) - 1  # cursors and offsets begin at 0
    await audit_passed(services)
    page = await asked(services.reads.audit_page(*scope, chosen, after, limit))
    following = None if page.next_offset is None else page.next_offset + 1
    return pages.answer([_view(row) for row in page.rows], following)


def _view(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": rfc3339(row.at_ms),
        "actor": row.actor,
        "action": row.action,
        "route": row.route,
        "resource": row.resource or None,
        "outcome": row.outcome,
        "requestId": row.request_id,
        "address": row.address,
    }


ROUTES = (web.get("/v1/activity", list_activity, name="list_activity"),)
