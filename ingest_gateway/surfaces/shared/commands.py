"""From a request to a decided command: its caller, body and idempotency key, and the verdict.

The control agent decides; the answer to a refusal has the agent's code. Without a verdict in time the answer is 503:
with an Idempotency-Key a repeat finds what was decided, without one the command may have been done.
"""

from functools import partial

from aiohttp import web

from domain.security.principals import Principal
from ingest_gateway.http.bodies import content_type, read_body
from ingest_gateway.log.event_log import Appended, LogBusy, LogUnavailable
from ingest_gateway.log.verdicts import VerdictLate
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.errors import BUSY, NOT_CONFIRMED, refused_by
from ingest_gateway.surfaces.shared.positions import POSITION, command_position
from ingest_gateway.surfaces.shared.requests import caller_context, idempotency_key
from operations import clock
from operations.new_commands import new_command
from schemas.commands.answers import DONE
from schemas.commands.payload import Payload
from schemas.records import Verdict

BODY_BYTES_MAX = 256 * 1024
UNCONFIRMED = "The request was not confirmed and may have been carried out. "
SAFE_TO_REPEAT = "Sending it again with the same Idempotency-Key is safe."
LOOK_FIRST = "Look whether it was before sending it again, and give an Idempotency-Key."


async def json_body(request: web.Request) -> bytes:
    content_type(request, "application/json")
    return await read_body(request, BODY_BYTES_MAX)


async def decide(
    request: web.Request, services: Services, principal: Principal, payload: Payload, *, surface: str = "events"
) -> Verdict:
    """The verdict on a command that was carried out; its effect is in this process's view of `control`. `surface`:
    the scope of the request's idempotency key."""
    key = idempotency_key(request)
    command = new_command(
        payload,
        workspace=principal.workspace,
        environment=principal.environment,
        caller=caller_context(request, principal.key_id),
        now_ms=clock.now_ms(),
        idempotency_key=key,
        surface=surface,
    )
    try:
        verdict = await services.commands.submit(
            command, on_stored=partial(_note_position, request, services, principal)
        )
    except LogBusy:
        raise BUSY.refused() from None
    except (LogUnavailable, VerdictLate):
        advice = LOOK_FIRST if key is None else SAFE_TO_REPEAT
        raise NOT_CONFIRMED.refused(UNCONFIRMED + advice) from None
    if verdict.outcome != DONE:
        raise refused_by(verdict)
    await services.control.catch_up()
    return verdict


def _note_position(request: web.Request, services: Services, principal: Principal, appended: Appended) -> None:
    request[POSITION] = command_position(services, principal, appended)
