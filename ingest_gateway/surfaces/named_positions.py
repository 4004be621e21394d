"""`Atlas-After: <position>[, …]`: what a request wants to see done, by the `Atlas-Position` of earlier answers,
whichever gateway gave them.
"""

from aiohttp import web

from domain.security.principals import Principal
from ingest_gateway.http.faults import FaultKind, FieldFault, Refused
from ingest_gateway.read_model import Position
from ingest_gateway.services import Services
from ingest_gateway.surfaces.positions import position_from
from ingest_gateway.surfaces.requests import read_control_on
from schemas.topics import Topic

AFTER_HEADER = "Atlas-After"
POSITIONS_MAX = 20


async def named_positions(request: web.Request, services: Services, principal: Principal) -> list[Position]:
    """Those on streams. A command's is waited for here: what it did stands on `control` since before its answer. Raises
    Refused: read_model_behind, invalid_request.
    """
    written = ",".join(request.headers.getall(AFTER_HEADER, ()))
    texts = [text.strip() for text in written.split(",") if text.strip()]
    positions = [position_from(services, principal, text) for text in texts[: POSITIONS_MAX + 1]]
    mine = [position for position in positions if position is not None]
    if len(mine) != len(texts):
        fault = FieldFault(AFTER_HEADER, f"Must be up to {POSITIONS_MAX} values of Atlas-Position of this workspace.")
        raise Refused(FaultKind.INVALID_FIELDS, fields=[fault])
    on_streams = [position for position in mine if position[0] != Topic.COMMANDS]
    if len(on_streams) < len(mine):
        await read_control_on(services)
    return on_streams
