"""How an event is shown: the JSON of `GET /v1/events/{id}`. Rows of docs/requirements.md: A-047 to A-053."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson
from sqlalchemy import Row

from ingest_gateway.read_model.stored import RouteState, StoredEvent
from schemas.read_model import AttemptRow
from schemas.times import rfc3339

NONE_DISABLED: Mapping[str, str] = MappingProxyType({})


def event_view(
    stored: StoredEvent,
    *,
    every_attempt: bool = False,
    data: bytes | None = None,
    disabled: Mapping[str, str] = NONE_DISABLED,
) -> dict[str, Any]:
    """The document's shape, for orjson. `data`: the payload's JSON as it is on the log, where it was asked for.
    `disabled`: routes whose workflow is disabled now, with its name; what waits behind one is shown as `disabled`.

    `attempts` holds the newest state of each route; with `every_attempt` each attempt that was made, oldest first
    within its route, with its times.
    """
    event = stored.event
    view = {
        "id": event.id,
        "object": "event",
        "stream": event.stream,
        "type": event.type,
        "status": stored.status(),
        "received_at": rfc3339(event.received_ms),
        "occurred_at": event.occurred_at,
        "idempotency_key": event.idempotency_key,
        "actor": _as_sent(event.actor),
        "metadata": _as_sent(event.metadata),
        "attempts": _every_attempt(stored) if every_attempt else _newest_of_each_route(stored, disabled),
    }
    return view if data is None else view | {"data": orjson.Fragment(data)}


def event_item(row: Row[Any]) -> dict[str, Any]:
    """An event in a list: without its attempts and payload."""
    return {
        "id": row.id,
        "object": "event",
        "stream": row.stream,
        "type": row.type,
        "status": row.status,
        "received_at": rfc3339(row.received_ms),
        "occurred_at": row.occurred_at,
        "idempotency_key": row.idempotency_key,
        "actor": _as_sent(row.actor),
        "metadata": _as_sent(row.metadata),
    }


def audit_item(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "audit_entry",
        "at": rfc3339(row.at_ms),
        "actor": row.actor,
        "action": row.action,
        "route": row.route,
        "resource": row.resource or None,
        "outcome": row.outcome,
        "request_id": row.request_id,
        "address": row.address,
    }


def _newest_of_each_route(stored: StoredEvent, disabled: Mapping[str, str]) -> list[dict[str, Any]]:
    newest = stored.newest()
    shown = [_attempt(newest[route]) if route in newest else _queued(route) for route in stored.routes()]
    return [_parked(view, disabled[view["workflow_id"]]) if _is_parked(view, disabled) else view for view in shown]


def _is_parked(view: dict[str, Any], disabled: Mapping[str, str]) -> bool:
    return view["workflow_id"] in disabled and view["status"] in (RouteState.QUEUED, RouteState.RETRY_SCHEDULED)


def _parked(view: dict[str, Any], name: str) -> dict[str, Any]:
    """Its next attempt waits for the workflow's reactivation, even past the time that was set for it."""
    error = {"code": "endpoint_disabled", "message": f"{name} is disabled; what waits is sent when it is reactivated"}
    parked = {**view, "status": RouteState.DISABLED, "last_error": error}
    parked.pop("next_attempt_at", None)
    return parked


def _every_attempt(stored: StoredEvent) -> list[dict[str, Any]]:
    return [_attempt(row) | _made(row) for row in stored.history()]


def _queued(route: str) -> dict[str, Any]:
    return {"workflow_id": route, "status": RouteState.QUEUED, "attempt": 1}


def _attempt(row: AttemptRow) -> dict[str, Any]:
    """For `retry_scheduled` the number of the next attempt (X-13), else that of the last one."""
    view: dict[str, Any] = {"workflow_id": row.workflow_id, "status": row.status, "attempt": row.attempt}
    if row.status == RouteState.RETRY_SCHEDULED:
        view["attempt"] += 1
        if row.next_attempt_ms is not None:
            view["next_attempt_at"] = rfc3339(row.next_attempt_ms)
    elif row.status != RouteState.IN_PROGRESS:
        view["completed_at"] = rfc3339(row.completed_ms)
    if row.error_code is not None:
        view["last_error"] = {"code": row.error_code, "message": row.error_message or ""}
    elif row.error_message is not None:  # acknowledged, with something to say
        view["note"] = row.error_message
    return view


def _made(row: AttemptRow) -> dict[str, Any]:
    return {
        "delivery_id": row.delivery_id,
        "replay": row.replay,
        "started_at": rfc3339(row.started_ms),
        "completed_at": rfc3339(row.completed_ms),
        "http_status": row.http_status,
    }


def _as_sent(json: str | None) -> orjson.Fragment | None:
    return None if json is None else orjson.Fragment(json)
