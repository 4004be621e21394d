"""`/v1/event-types`: the platforms' types and the org's own, with their schemas; and the check of events by them.

Rows of docs/requirements.md: S-038 to S-042. Under `ATLAS_CATALOG=strict` an event must be of a known type,
and its data must fit the type's newest schema; otherwise the catalog is only documentation.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from aiohttp import web

from domain.events.catalog import CATALOG, CatalogType
from domain.events.fields import REQUIRED
from domain.events.spine_events import NO_TYPE, STREAM, SpineEvent, is_type
from domain.json.schemas import SCHEMA_BYTES_MAX, schema_errors
from domain.json.strict import members
from domain.security.principals import ADMIN, EVENTS_READ, Principal
from ingest_gateway.http.queries import read_query
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.commands import decide, json_body
from ingest_gateway.surfaces.shared.forms import DESCRIPTION_CHARACTERS_MAX, Form, text_error
from ingest_gateway.surfaces.shared.requests import caller, read_control_on
from ingest_gateway.surfaces.spine.errors import INVALID_EVENT_TYPE, NOT_FOUND, invalid
from schemas.commands.answers import decode_state
from schemas.commands.event_types import RegisterEventType
from schemas.entities import EventType, SchemaVersion
from schemas.errors import FieldError
from schemas.times import rfc3339_seconds

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

PATH = "/v1/event-types"
STRICT = "strict"
UNKNOWN_TYPE = "The type is not in the catalog, and this installation takes types of the catalog only."
_FIELDS = frozenset({"schema", "description"})


async def list_event_types(request: web.Request) -> web.Response:
    services, principal = caller(request, EVENTS_READ)
    read_query(request, ())
    await read_control_on(services)
    mine = services.control.view.event_types_of(principal.workspace, principal.environment)
    kinds = [*CATALOG, *sorted(mine.keys() - CATALOG.keys())]
    shown = [event_type_view(kind, CATALOG.get(kind), mine.get(kind)) for kind in kinds]
    return json_response({"eventTypes": shown})


async def get_event_type(request: web.Request) -> web.Response:
    """With every version that is kept."""
    services, principal = caller(request, EVENTS_READ)
    read_query(request, ())
    kind = request.match_info["type"]
    await read_control_on(services)
    mine = services.control.view.event_types_of(principal.workspace, principal.environment).get(kind)
    known = CATALOG.get(kind)
    if mine is None and known is None:
        raise NOT_FOUND.refused("There is no such event type in the catalog.")
    versions = [_version_view(one) for one in versions_of(known, mine)]
    return json_response(event_type_view(kind, known, mine) | {"versions": versions})


async def register_event_type(request: web.Request) -> web.Response:
    services, principal = caller(request, ADMIN)
    read_query(request, ())
    payload = read_registration(request.match_info["type"], await json_body(request))
    verdict = await decide(request, services, principal, payload, surface=STREAM)
    registered: EventType = decode_state(verdict.body, EventType)
    return json_response(event_type_view(registered.id, CATALOG.get(registered.id), registered), verdict.status)


def read_registration(kind: str, body: bytes) -> RegisterEventType:
    """Raises Refused: invalid_event_type, invalid_request."""
    if not is_type(kind):
        raise INVALID_EVENT_TYPE.refused(NO_TYPE, fields=[FieldError("type", NO_TYPE)])
    form = Form(body, _FIELDS)
    description = form.string("description", text_error(DESCRIPTION_CHARACTERS_MAX), required=False)
    schema = form.values.get("schema")
    text = b"" if schema is None else bytes(members(body)["schema"])
    if schema is None:
        form.refuse("schema", REQUIRED)
    elif len(text) > SCHEMA_BYTES_MAX:
        form.refuse("schema", f"The schema has {len(text)} bytes; {SCHEMA_BYTES_MAX} are allowed.")
    else:
        for path, message in schema_errors(schema):
            form.refuse(f"schema.{path}" if path else "schema", message)
    form.raise_errors()
    return RegisterEventType(type=kind, schema=orjson.dumps(schema), description=description)


def check_by_catalog(services: Services, principal: Principal, event: SpineEvent) -> None:
    """Raises Refused: invalid_event_type, invalid_request."""
    if services.settings.catalog != STRICT:
        return
    known = CATALOG.get(event.type)
    mine = services.control.view.event_types_of(principal.workspace, principal.environment).get(event.type)
    if known is None and mine is None:
        raise INVALID_EVENT_TYPE.refused(UNKNOWN_TYPE, fields=[FieldError("type", UNKNOWN_TYPE)])
    versions = versions_of(known, mine)
    if versions:
        error = first_breach(versions[-1].schema, event.data)
        if error is not None:
            raise invalid(error)


def first_breach(schema: bytes, data: bytes) -> FieldError | None:
    error = next(_validator(schema).iter_errors(orjson.loads(data)), None)
    if error is None:
        return None
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    return FieldError(f"data{path}"[:200], error.message[:500])


@lru_cache(maxsize=1_000)
def _validator(schema: bytes) -> "Draft202012Validator":
    from jsonschema import Draft202012Validator  # a seventh of the gateway's start; few installations are strict

    return Draft202012Validator(msgspec.json.decode(schema))


def versions_of(known: CatalogType | None, mine: EventType | None) -> list[SchemaVersion]:
    """Oldest first."""
    if mine is not None:
        return mine.versions
    if known is None or known.schema is None:
        return []
    return [SchemaVersion(version=1, schema=orjson.dumps(known.schema), registered_ms=0)]


def event_type_view(kind: str, known: CatalogType | None, mine: EventType | None) -> dict[str, Any]:
    versions = versions_of(known, mine)
    newest = versions[-1] if versions else None
    own_words = None if mine is None else mine.description
    return {
        "type": kind,
        "platform": None if known is None else known.platform,
        "description": own_words or (None if known is None else known.description),
        "version": None if newest is None else newest.version,
        "schema": None if newest is None else orjson.Fragment(newest.schema),
    }


def _version_view(version: SchemaVersion) -> dict[str, Any]:
    registered = rfc3339_seconds(version.registered_ms) if version.registered_ms else None
    return {"version": version.version, "schema": orjson.Fragment(version.schema), "registeredAt": registered}


ROUTES: Iterable[web.RouteDef] = (
    web.get(PATH, list_event_types, name="list_event_types"),
    web.get(PATH + "/{type}", get_event_type, name="get_event_type"),
    web.put(PATH + "/{type}", register_event_type, name="register_event_type"),
)
