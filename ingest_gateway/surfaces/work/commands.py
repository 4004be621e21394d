"""From a request to a decided command, and to its answer.

The control agent decides; the answer to a refusal has the agent's code. Without a verdict in time the answer is 503:
with an Idempotency-Key a repeat finds what was decided, without one it may have been done. A key names one
operation and its subject, with any body (W-042): a repeat within 24 hours gets the first answer, its
bytes and its id; a refusal leaves the key free.
"""

import contextlib
from functools import partial
from typing import Final

from aiohttp import web

from domain.security.principals import Principal
from ingest_gateway.http.bodies import content_type, read_body
from ingest_gateway.log.event_log import Appended, LogBusy, LogUnavailable
from ingest_gateway.log.system_streams import SystemStreams
from ingest_gateway.log.verdicts import VerdictLate
from ingest_gateway.services import SERVICES, Services
from ingest_gateway.surfaces.shared.commands import LOOK_FIRST, SAFE_TO_REPEAT
from ingest_gateway.surfaces.shared.errors import BUSY, refused_by
from ingest_gateway.surfaces.shared.positions import POSITION, command_position
from ingest_gateway.surfaces.shared.requests import caller_context, idempotency_key
from ingest_gateway.surfaces.work.errors import NOT_CONFIRMED
from ingest_gateway.surfaces.work.reads import WRITES
from ingest_gateway.surfaces.work.versions import shown
from operations import clock
from operations.new_commands import new_command
from schemas.commands.answers import DONE, REFUSED
from schemas.commands.payload import Payload
from schemas.records import Command, Verdict
from schemas.work import SURFACE

BODY_BYTES_MAX = 1_048_576
UNCONFIRMED: Final = "The request was not confirmed and may have been carried out. "
STREAM: web.AppKey[SystemStreams] = web.AppKey("work_stream", SystemStreams)


async def json_body(request: web.Request) -> bytes:
    content_type(request, "application/json")
    return await read_body(request, BODY_BYTES_MAX)


async def decided(request: web.Request, services: Services, principal: Principal, payload: Payload) -> Verdict:
    """The verdict on a command that was carried out. Raises Refused."""
    _, verdict = await asked_for(request, services, principal, payload)
    if verdict.outcome != DONE:
        raise refused_by(verdict)
    return verdict


async def asked_for(
    request: web.Request, services: Services, principal: Principal, payload: Payload
) -> tuple[Command, Verdict]:
    """The command, under the request's idempotency key, and its verdict; a refusal is raised."""
    key = idempotency_key(request)
    command = _command(request, principal, payload, key)
    try:
        verdict = await services.commands.submit(command, on_stored=partial(_note, request, principal))
    except LogBusy:
        raise BUSY.refused() from None
    except (LogUnavailable, VerdictLate):
        raise NOT_CONFIRMED.refused(UNCONFIRMED + (LOOK_FIRST if key is None else SAFE_TO_REPEAT)) from None
    if verdict.outcome == REFUSED:
        raise refused_by(verdict)
    return command, verdict


async def submit_best_effort(request: web.Request, services: Services, principal: Principal, payload: Payload) -> None:
    """A command of our own on the request's behalf, whose answer does not depend on it: a failure is ignored."""
    with contextlib.suppress(LogBusy, LogUnavailable, VerdictLate):
        await services.commands.submit(_command(request, principal, payload, None))


def _command(request: web.Request, principal: Principal, payload: Payload, key: str | None) -> Command:
    return new_command(
        payload,
        workspace=principal.workspace,
        environment=principal.environment,
        caller=caller_context(request, principal.key_id),
        now_ms=clock.now_ms(),
        idempotency_key=key,
        surface=SURFACE,
    )


async def item_decided(request: web.Request, services: Services, principal: Principal, payload: Payload) -> Verdict:
    """The same for a change that becomes an event of the workspace's system stream, which is created if needed."""
    try:
        await request.app[STREAM].ensure(principal.workspace, principal.environment)
    except LogBusy:
        raise BUSY.refused() from None
    except (LogUnavailable, VerdictLate):
        raise NOT_CONFIRMED.refused("The workspace is not ready yet. Nothing was done; please send it again.") from None
    return await decided(request, services, principal, payload)


def answer(verdict: Verdict) -> web.Response:
    """The item as the control agent wrote it, with its version as ETag."""
    if verdict.status == 204:
        return web.Response(status=204)
    return shown(verdict.body, verdict.status)


def _note(request: web.Request, principal: Principal, appended: Appended) -> None:
    request[POSITION] = command_position(request.app[SERVICES], principal, appended)
    request.app[WRITES].note(principal.workspace, principal.environment, appended)
