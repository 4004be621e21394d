"""`POST /api/ingest`: appends model calls to the log and answers with the organization's status after them.

An invalid item is named and counted, and does not reject the others. The calls are stored before the answer, which
waits for the guardrails' verdict on them. If none comes in time, the answer has the status that this gateway knows,
with `Atlas-Decision: pending`: the document has only `ok` and `suspended` (B-015).
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from domain.security.principals import Principal
from ingest_gateway.http.bodies import content_type, read_body
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.http.guard import ANSWER_HEADERS
from ingest_gateway.log.event_log import LogBusy, LogUnavailable
from ingest_gateway.services import SERVICES, Services
from ingest_gateway.surfaces.burn.asking import TELEMETRY
from ingest_gateway.surfaces.burn.errors import NOT_CONFIRMED
from ingest_gateway.surfaces.burn.forms import (
    BEFORE_1970,
    BODY_BYTES_MAX,
    CALLS_MAX,
    Rejected,
    UnreadableCalls,
    call_of,
    read_calls,
)
from ingest_gateway.surfaces.burn.new_calls import NewCall
from ingest_gateway.surfaces.shared.answers import DECISION_HEADER, DECISION_PENDING, json_response
from ingest_gateway.surfaces.shared.errors import BUSY
from ingest_gateway.surfaces.shared.requests import caller_context, idempotency_key
from operations import clock
from schemas.telemetry import CALLS_A_RECORD_MAX, ModelCall, ModelCalls, Standing

OK, SUSPENDED = "ok", "suspended"
_standing = msgspec.json.Decoder(Standing).decode


async def ingest(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    principal = services.authenticate(request)
    content_type(request, "application/json")
    key = idempotency_key(request)
    body = await read_body(request, BODY_BYTES_MAX)
    try:
        fit, rejected = read_calls(body)
    except UnreadableCalls as error:
        raise Refused(ErrorKind.MALFORMED_REQUEST, str(error)) from None
    if len(fit) + len(rejected) > CALLS_MAX:
        raise Refused(ErrorKind.BODY_TOO_LARGE, f"A request holds at most {CALLS_MAX:,} events; send several.")
    calls = _priced(fit, rejected, principal, key)
    status = await store_calls(request, calls)
    return json_response(answer(len(calls), rejected, status))


async def store_calls(request: web.Request, calls: Sequence[ModelCall]) -> str:
    """Stores the calls and returns the organization's status after them. Raises Refused."""
    services = request.app[SERVICES]
    principal = services.authenticate(request)
    if not calls:
        return _seen(services, principal.workspace, OK)
    records = [
        ModelCalls(calls=list(calls[start : start + CALLS_A_RECORD_MAX]))
        for start in range(0, len(calls), CALLS_A_RECORD_MAX)
    ]
    try:
        verdict = await request.app[TELEMETRY].store(
            principal.workspace, caller_context(request, principal.key_id), records
        )
    except LogBusy:
        raise BUSY.refused() from None
    except LogUnavailable:
        raise NOT_CONFIRMED.refused() from None
    if verdict is None:
        request[ANSWER_HEADERS] = {**request.get(ANSWER_HEADERS, {}), DECISION_HEADER: DECISION_PENDING}
        return _seen(services, principal.workspace, OK)
    state = _standing(verdict.body).state
    if state == SUSPENDED and _seen(services, principal.workspace, OK) == OK:
        await services.control.catch_up()  # so that the next call at this gateway is stopped by the flag
    return state


def answer(accepted: int, rejected: Sequence[Rejected], status: str) -> dict[str, Any]:
    """The document's three members, and `errors` if there are any."""
    body = {"accepted": accepted, "rejected": len(rejected), "guardrail_status": status}
    return body | {"errors": rejected} if rejected else body


def _priced(
    fit: Sequence[tuple[int, NewCall]], rejected: list[Rejected], principal: Principal, key: str | None
) -> list[ModelCall]:
    """With an Idempotency-Key, an item without an event_id gets one from its index, so that a repeat counts once."""
    repeat = "" if key is None else hashlib.sha256(key.encode()).hexdigest()[:32]
    calls = []
    for index, new in fit:
        call = call_of(new, principal.key_id, f"{repeat}:{index}" if repeat else "")
        if call is None:
            rejected.append(Rejected(index, "ts", BEFORE_1970))
        else:
            calls.append(call)
    rejected.sort()
    return calls


def _seen(services: Services, workspace: str, otherwise: str) -> str:
    """The status by this gateway's own view of `control`."""
    flag = services.control.view.suspension(workspace, clock.now_ms())
    return otherwise if flag is None else SUSPENDED
