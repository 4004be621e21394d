"""One log line for each request, with the request id that its answer carries.

A line has the caller, the operation, the outcome, the duration and what the handler noted (`note`).
It holds nothing of the body, of the query or of a header but the user agent, since those may hold a secret.
"""

import logging
from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from ingest_gateway.http.addresses import address_of
from ingest_gateway.http.errors import Refused
from operations.logs import event

log = logging.getLogger("atlas.http")
USER_AGENT_SHOWN_MAX = 200

CALLER: web.RequestKey[Mapping[str, str]] = web.RequestKey("caller", Mapping)
"""What the line has about the caller, once it is known."""
_NOTES: web.RequestKey[dict[str, Any]] = web.RequestKey("notes", dict)


def note(request: web.BaseRequest, **facts: Any) -> None:
    """Adds these facts to the request's line: ids and counts, never content."""
    notes = request.get(_NOTES)
    if notes is None:
        request[_NOTES] = facts
    else:
        notes.update(facts)


def log_request(
    request: web.BaseRequest,
    *,
    request_id: str,
    surface: str,
    operation: str,
    status: int,
    refused: Refused | None,
    seconds: float,
) -> None:
    level = logging.WARNING if status >= 500 else logging.INFO
    if not log.isEnabledFor(level):
        return
    facts: dict[str, Any] = {
        "request_id": request_id,
        "surface": surface,
        "operation": operation,
        "method": request.method,
        "status": status,
        "duration_ms": round(seconds * 1_000, 3),
        "address": address_of(request),
        "user_agent": request.headers.get(hdrs.USER_AGENT, "")[:USER_AGENT_SHOWN_MAX],
    }
    if refused is not None:
        facts["fault"] = refused.code or refused.kind.name.lower()
    facts.update(request.get(CALLER, ()))
    facts.update(request.get(_NOTES, ()))
    event(log, "request.answered", level, **facts)


def log_unreadable(request_id: str, surface: str, status: int, reason: str, peer: str) -> None:
    """For bytes that were no acceptable HTTP; there is no request. `peer` may be a proxy of ours."""
    known: dict[str, Any] = {"request_id": request_id, "surface": surface, "status": status}
    event(log, "request.unreadable", reason=reason, peer=peer, **known)
