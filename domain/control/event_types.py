"""The rules of event types: schemas are registered, versioned, and changed so that old events stay readable."""

import msgspec

from domain.control.handlers import Handlers, RequestHandler
from domain.control.values import NO_CHANGES, CommandChanges, CommandRefused, CommandRequest, Done, Facts, body_of
from domain.events.catalog import CATALOG
from domain.json.schemas import incompatibilities
from schemas.commands.event_types import RegisterEventType
from schemas.entities import EventType, SchemaVersion
from schemas.errors import FieldError

TYPES_MAX = 500  # for each workspace and environment
VERSIONS_KEPT = 20
NOT_COMPATIBLE = "Events that fit the present schema may not fit this one"


def register(facts: Facts, request: CommandRequest, payload: RegisterEventType) -> Done:
    """Registers a schema. Registering the same schema again adds no version.

    For the platform's own types, the platform's schema counts as version 1.
    """
    command = request.command
    known = facts.event_type(command.workspace, command.environment, payload.type)
    if known is None and facts.event_types_counted(command.workspace, command.environment) >= TYPES_MAX:
        message = f"There are {TYPES_MAX} registered types, which is as many as there may be."
        raise CommandRefused(409, "event_type_limit_reached", message)
    before = known or _first(request, payload.type)
    after = _with_version(request, payload, before)
    if after == known:
        return Done(200, NO_CHANGES, f"event_type/{payload.type}", body_of(after))
    status = 201 if after.versions[-1].registered_ms == request.append_ms else 200
    return Done(
        status, CommandChanges(put=(after.to_entity(request.version),)), f"event_type/{payload.type}", body_of(after)
    )


def _with_version(request: CommandRequest, payload: RegisterEventType, before: EventType) -> EventType:
    """Raises CommandRefused."""
    description = before.description if payload.description is None else payload.description
    newest = before.versions[-1] if before.versions else None
    schema = msgspec.json.decode(payload.schema)
    if newest is not None and newest.registered_ms and msgspec.json.decode(newest.schema) == schema:
        return msgspec.structs.replace(before, description=description)
    if newest is not None:
        _is_compatible(newest, schema)
    number = 1 if newest is None else newest.version + 1
    version = SchemaVersion(version=number, schema=payload.schema, registered_ms=request.append_ms)
    versions = [*before.versions, version][-VERSIONS_KEPT:]
    return msgspec.structs.replace(before, description=description, versions=versions)


def _is_compatible(newest: SchemaVersion, schema: dict[str, object]) -> None:
    """Raises CommandRefused."""
    narrower = incompatibilities(msgspec.json.decode(newest.schema), schema)
    if narrower:
        errors = tuple(FieldError("schema", message) for message in narrower)
        raise CommandRefused(409, "incompatible_schema", f"{NOT_COMPATIBLE}: {narrower[0]}.", errors)


def _first(request: CommandRequest, kind: str) -> EventType:
    """A type that nobody has registered in this environment: without versions, or with the platform's version."""
    command = request.command
    known = CATALOG.get(kind)
    versions = []
    if known is not None and known.schema is not None:
        versions = [SchemaVersion(version=1, schema=msgspec.json.encode(known.schema), registered_ms=0)]
    return EventType(
        id=kind,
        workspace=command.workspace,
        environment=command.environment,
        created_ms=request.append_ms,
        description=None if known is None else known.description,
        versions=versions,
    )


HANDLERS: Handlers = {
    RegisterEventType: RequestHandler(register),
}
