"""`POST /api/gate`: says whether a call may be made, for clients that ask before each call (B-063, B-069, B-084).

The gateway answers from its own view of `control` and waits for nothing, as the edge proxy does. A client that gets no
answer makes the call; everything that is not suspended is allowed.
"""

from typing import Any

import msgspec
from aiohttp import web

from domain.json.strict import JsonError, decode_object
from ingest_gateway.http.bodies import content_type, read_body
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.services import SERVICES
from ingest_gateway.surfaces.burn.ingest import SUSPENDED
from ingest_gateway.surfaces.burn.new_calls import ShortText
from ingest_gateway.surfaces.shared.answers import json_response
from operations import clock
from schemas.entities import KillFlag
from schemas.guardrail_policy import Guarded, Scope

BODY_BYTES_MAX = 16 * 1024
ACTIVE = "active"


class GateAsked(msgspec.Struct, frozen=True):
    """Other members are ignored."""

    projectId: ShortText | None = None
    featureId: ShortText | None = None


_asked = msgspec.json.Decoder(GateAsked)


async def gate(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    principal = services.authenticate(request)
    content_type(request, "application/json")
    try:
        asked = decode_object(await read_body(request, BODY_BYTES_MAX), _asked)
    except JsonError as error:
        raise Refused(ErrorKind.INVALID_FIELDS, error.message) from None
    project = asked.projectId or asked.featureId  # as ingest treats them
    parts = [Guarded(Scope.KEY, principal.key_id)] + ([Guarded(Scope.PROJECT, project)] if project else [])
    flag = services.control.view.suspension(principal.workspace, clock.now_ms(), parts)
    return json_response(gate_view(flag))


def gate_view(flag: KillFlag | None) -> dict[str, Any]:
    if flag is None:
        return {"blocked": False, "status": ACTIVE}
    return {"blocked": True, "status": SUSPENDED, "reason": flag.layer, "message": flag.reason}


ROUTES = (web.post("/api/gate", gate, name="gate"),)
