"""`GET /v1/events/correlations/{id}`: the chain of events that share a correlation id, in order, and the endpoints that
reacted.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from aiohttp import web
from sqlalchemy import Row

from domain.events.spine_events import STREAM
from domain.security.principals import EVENTS_READ
from ingest_gateway.http.queries import read_query
from ingest_gateway.read_model import ReadModelUnavailable
from ingest_gateway.read_model.spine_pages import CHAIN_MAX
from ingest_gateway.read_model.stored import RouteState
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.errors import READ_MODEL_BEHIND
from ingest_gateway.surfaces.shared.reads import look_until_sure, wait_for_writes
from ingest_gateway.surfaces.shared.requests import caller
from ingest_gateway.surfaces.spine.errors import NOT_FOUND
from ingest_gateway.surfaces.spine.query import event_view, read_payloads
from schemas.entities import Stream
from schemas.ids import SPINE_SUBSCRIPTION
from schemas.read_model import AttemptRow
from schemas.times import rfc3339

PARALLEL_PAYLOADS = 200
PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
Linked = tuple[Row[Any], list[AttemptRow]]


async def get_correlation(request: web.Request) -> web.Response:
    services, principal = caller(request, EVENTS_READ)
    read_query(request, ())
    correlation_id = request.match_info["correlationId"]
    await wait_for_writes(request, services, principal, lambda name: name == STREAM)
    scope = principal.workspace, principal.environment

    async def look() -> list[Linked] | None:
        return await services.reads.spine_chain(*scope, correlation_id) or None

    def spine() -> list[Stream]:
        found = services.control.view.stream(*scope, STREAM)
        return [] if found is None else [found]

    try:
        chain = await look_until_sure(services, spine, look)
    except ReadModelUnavailable:
        raise READ_MODEL_BEHIND.refused() from None
    if chain is None:
        raise NOT_FOUND.refused("There is no event with this correlation id.")
    shown = newest_that_fit(chain)
    rows = [row for row, _ in shown]
    payloads: list[bytes] = []
    for begin in range(0, len(rows), PARALLEL_PAYLOADS):
        payloads += await read_payloads(services, rows[begin : begin + PARALLEL_PAYLOADS])
    events = [
        event_view(row, principal.workspace, data) | {"deliveries": deliveries_of(row, attempts)}
        for (row, attempts), data in zip(shown, payloads, strict=True)
    ]
    view = {"correlationId": correlation_id, "events": events, "complete": len(events) == len(chain) < CHAIN_MAX}
    return json_response(view)


def newest_that_fit(chain: Sequence[Linked]) -> Sequence[Linked]:
    """An answer is put together in memory, so its payloads are bounded; the newest are shown in any case."""
    size_bytes = 0
    for index in range(len(chain) - 1, -1, -1):
        size_bytes += chain[index][0].data_bytes
        if size_bytes > PAYLOAD_BYTES_MAX and index < len(chain) - 1:
            return chain[index + 1 :]
    return chain


def deliveries_of(row: Row[Any], attempts: Sequence[AttemptRow]) -> list[dict[str, Any]]:
    """The state of the event's delivery to each of its subscriptions and workflows."""
    newest = _newest(attempts)
    targets = dict.fromkeys([*msgspec.json.decode(row.routes, type=list[str]), *newest])
    return [_delivery(target, newest.get(target)) for target in targets]


def _newest(attempts: Iterable[AttemptRow]) -> dict[str, AttemptRow]:
    """By target."""
    in_order = sorted(attempts, key=lambda one: (one.received_ms, one.replay, one.attempt))
    return {one.workflow_id: one for one in in_order}


def _delivery(target: str, attempt: AttemptRow | None) -> dict[str, Any]:
    named = "subscriptionId" if target.startswith(SPINE_SUBSCRIPTION) else "workflowId"
    view: dict[str, Any] = {named: target, "status": RouteState.QUEUED, "attempts": 0}
    if attempt is None:
        return view
    view |= {"status": attempt.status, "attempts": attempt.attempt, "lastAttemptAt": rfc3339(attempt.completed_ms)}
    view["httpStatus"] = attempt.http_status
    if attempt.next_attempt_ms is not None:
        view["nextAttemptAt"] = rfc3339(attempt.next_attempt_ms)
    return view


ROUTES = (web.get("/v1/events/correlations/{correlationId}", get_correlation, name="get_correlation"),)
