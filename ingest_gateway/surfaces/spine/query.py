"""`GET /v1/events`: the org's log, newest first, by type (with wildcards), source, time and correlation id.

Rows of docs/requirements.md: S-015 to S-024. Events are found in the read model,
their payloads are read from the log.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web
from sqlalchemy import Row

from domain.entities.organizations import org_of
from domain.entities.patterns import NO_PATTERN, is_pattern
from domain.events.spine_events import METADATA_VALUE_CHARACTERS_MAX as CORRELATION_CHARACTERS_MAX
from domain.events.spine_events import SOURCE_CHARACTERS_MAX, STREAM, is_own_org, is_type, source_of
from domain.events.spine_records import data_of
from domain.security.principals import EVENTS_READ, Principal
from ingest_gateway.http.queries import read_query, whole_number
from ingest_gateway.log.event_log import LogUnavailable
from ingest_gateway.read_model import ReadModelUnavailable
from ingest_gateway.read_model.spine_pages import OFFSET_MAX, SpineFilter
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.errors import READ_MODEL_BEHIND
from ingest_gateway.surfaces.shared.parameters import time_range
from ingest_gateway.surfaces.shared.reads import wait_for_writes
from ingest_gateway.surfaces.shared.requests import caller
from ingest_gateway.surfaces.spine.errors import FORBIDDEN_ORG, invalid
from schemas.errors import FieldError
from schemas.ids import time_of
from schemas.times import rfc3339

LIMIT_MAX, LIMIT_DEFAULT = 100, 20
PARAMETERS = frozenset({"type", "source", "orgId", "from", "to", "correlationId", "limit", "offset"})
UNREADABLE = "The payloads can't be read now. Please ask again."


async def query_events(request: web.Request) -> web.Response:
    services, principal = caller(request, EVENTS_READ)
    parameters = read_query(request, PARAMETERS)
    limit = whole_number(parameters, "limit", minimum=1, maximum=LIMIT_MAX, default=LIMIT_DEFAULT)
    offset = whole_number(parameters, "offset", minimum=0, maximum=OFFSET_MAX, default=0)
    require_own_org(principal, parameters.get("orgId"), "orgId")
    chosen = _filter(parameters)
    await wait_for_writes(request, services, principal, lambda name: name == STREAM)
    try:
        page = await services.reads.spine_page(principal.workspace, principal.environment, chosen, offset, limit)
    except ReadModelUnavailable:
        raise READ_MODEL_BEHIND.refused() from None
    payloads = await read_payloads(services, page.rows)
    views = [event_view(row, principal.workspace, data) for row, data in zip(page.rows, payloads, strict=True)]
    return json_response({"events": views, "total": page.total, "offset": offset, "limit": limit})


def require_own_org(principal: Principal, org: str | None, field: str) -> None:
    """Raises Refused (forbidden)."""
    if org is not None and not is_own_org(org, principal.workspace):
        raise FORBIDDEN_ORG.refused(fields=[FieldError(field, "It must be the key's own organization.")])


async def read_payloads(services: Services, rows: Sequence[Row[Any]]) -> list[bytes]:
    """The bytes of each row's `data` as they were sent; `null` where retention has taken them."""
    positions = [(row.source_topic, row.source_partition, row.source_offset) for row in rows]
    if not positions:
        return []
    try:
        found = await services.events.read_many(positions, services.settings.read_timeout_seconds)
    except LogUnavailable:
        raise READ_MODEL_BEHIND.refused(UNREADABLE) from None
    records = [found[position] for position in positions]
    return [b"null" if record is None else data_of(record.value, record.headers) for record in records]


def event_view(row: Row[Any], workspace: str, data: bytes) -> dict[str, Any]:
    return {
        "eventId": row.id,
        "type": row.type,
        "source": source_of(row.actor),
        "orgId": org_of(workspace),
        "timestamp": rfc3339(time_of(row.id)),
        "data": orjson.Fragment(data),
        "metadata": orjson.Fragment(row.metadata or "{}"),
    }


def is_type_filter(text: str) -> bool:
    return is_pattern(text) or is_type(text)


def _filter(parameters: dict[str, str]) -> SpineFilter:
    first, last = time_range(parameters)
    kind = parameters.get("type")
    errors = []
    if kind is not None and not is_type_filter(kind):
        errors.append(FieldError("type", NO_PATTERN))
    texts = (("source", SOURCE_CHARACTERS_MAX), ("correlationId", CORRELATION_CHARACTERS_MAX))
    for name, characters_max in texts:
        if name in parameters and not 0 < len(parameters[name]) <= characters_max:
            errors.append(FieldError(name, f"Must have 1 to {characters_max} characters."))
    if errors:
        raise invalid(*errors)
    return SpineFilter(
        patterns=() if kind is None else (kind,),
        source=parameters.get("source"),
        correlation_id=parameters.get("correlationId"),
        from_ms=first,
        to_ms=last,
    )


ROUTES = (web.get("/v1/events", query_events, name="query_events"),)
