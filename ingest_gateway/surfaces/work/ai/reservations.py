"""Idempotency of `/v1/ai/*`: a key is reserved by one command before the model is asked and completed by another after.

So no repeat is ever charged twice: while the first request runs, a repeat gets 409 `idempotency_in_flight`; after it,
the first answer, for 24 hours. A failed call leaves the key free; a call whose gateway died does so after 150 seconds.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import orjson
from aiohttp import web

from domain.security.principals import Principal
from ingest_gateway.http.errors import Refused
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.requests import idempotency_key
from ingest_gateway.surfaces.work.commands import asked_for, submit_best_effort
from ingest_gateway.surfaces.work.errors import IN_FLIGHT
from schemas.commands.answers import DONE
from schemas.commands.reservations import RESERVED, CompleteAnswer, ReserveAnswer, Reserved

Make = Callable[[], Awaitable[dict[str, Any]]]


async def answered_once(
    request: web.Request, services: Services, principal: Principal, operation: str, make: Make
) -> web.Response:
    """What `make` gives, made once under the request's key if it has one. Raises Refused."""
    if idempotency_key(request) is None:
        return _response(orjson.dumps(await make()))
    command, verdict = await asked_for(request, services, principal, ReserveAnswer(id=operation))
    if verdict.outcome == DONE:
        return _response(verdict.body)
    holder = msgspec.json.decode(verdict.body, type=Reserved).command
    if verdict.outcome != RESERVED or holder != command.id:
        raise IN_FLIGHT.refused()
    try:
        body = orjson.dumps(await make())
    except Refused:
        await submit_best_effort(request, services, principal, CompleteAnswer(reservation=holder, body=None))
        raise
    await submit_best_effort(request, services, principal, CompleteAnswer(reservation=holder, body=body.decode()))
    return _response(body)


def _response(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
