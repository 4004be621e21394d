"""Reads follow writes: what a read waits for before it asks the read model, and how long.

A list waits for all that this gateway appended for the workspace and environment. `Atlas-After: <position>[, …]` makes
any gateway wait for what an `Atlas-Position` of another's answer named. Past the bound the answer is 503
`read_model_behind`, never one that leaves something out.
"""

from aiohttp import web

from ingest_gateway.http.faults import FaultKind, FieldFault, Refused
from ingest_gateway.read_model import Position
from ingest_gateway.services import Services
from ingest_gateway.surfaces.faults import READ_MODEL_BEHIND
from ingest_gateway.surfaces.positions import position_from
from schemas.principals import Principal
from schemas.topics import Topic

AFTER_HEADER = "Atlas-After"
POSITIONS_MAX = 20


async def wait_for_named(request: web.Request, services: Services, principal: Principal) -> None:
    """For what the request names in Atlas-After. Raises Refused: read_model_behind, invalid_request."""
    await _wait(services, await _named(request, services, principal))


async def wait_for_writes(request: web.Request, services: Services, principal: Principal) -> None:
    """The same, and for what this gateway appended."""
    newest = services.events.newest(principal.workspace, principal.environment)
    await _wait(services, [*newest, *await _named(request, services, principal)])


async def _wait(services: Services, positions: list[Position]) -> None:
    timeout_seconds = services.settings.read_timeout_seconds
    if positions and not await services.reads.wait_until_passed(positions, timeout_seconds):
        raise READ_MODEL_BEHIND.refused()


async def _named(request: web.Request, services: Services, principal: Principal) -> list[Position]:
    """A command's place is waited for here: what it did stands on `control` since before its answer."""
    written = ",".join(request.headers.getall(AFTER_HEADER, ()))
    texts = [text.strip() for text in written.split(",") if text.strip()]
    positions = [position_from(services, principal, text) for text in texts[: POSITIONS_MAX + 1]]
    mine = [position for position in positions if position is not None]
    if len(mine) != len(texts):
        fault = FieldFault(AFTER_HEADER, f"Must be up to {POSITIONS_MAX} values of Atlas-Position of this workspace.")
        raise Refused(FaultKind.INVALID_FIELDS, fields=[fault])
    on_streams = [position for position in mine if position[0] != Topic.COMMANDS]
    if len(on_streams) < len(mine) and not await services.control.catch_up(services.settings.read_timeout_seconds):
        raise READ_MODEL_BEHIND.refused()
    return on_streams
