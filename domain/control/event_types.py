"""The rules of event types: schemas are registered, versioned, and changed so that old events stay readable. Pure."""

import msgspec

from domain.control.values import NO_CHANGES, Asked, Changes, Done, Facts, Refused, body_of
from domain.events.catalog import CATALOG
from domain.json.schemas import incompatibilities
from schemas.commands import RegisterEventType
from schemas.entities import EventType, SchemaVersion
from schemas.errors import FieldError

TYPES_MAX = 500  # of a workspace and environment
VERSIONS_KEPT = 20
NOT_COMPATIBLE = "Events that fit the present schema may not fit this one"


def register(facts: Facts, asked: Asked, payload: RegisterEventType) -> Done:
    """The same schema again makes no version. The platform's own schema counts as the first version of its types."""
    command = asked.command
    known = facts.event_type(command.workspace, command.environment, payload.type)
    if known is None and facts.event_types_counted(command.workspace, command.environment) >= TYPES_MAX:
        message = f"There are {TYPES_MAX} registered types, which is as many as there may be."
        raise Refused(409, "event_type_limit_reached", message)
    before = known or _first(asked, payload.type)
    after = _with_version(asked, payload, before)
    if after == known:
        return Done(200, NO_CHANGES, f"event_type/{payload.type}", body_of(after))
    status = 201 if after.versions[-1].registered_ms == asked.append_ms else 200
    return Done(status, Changes(put=(after.to_entity(asked.version),)), f"event_type/{payload.type}", body_of(after))


def _with_version(asked: Asked, payload: RegisterEventType, before: EventType) -> EventType:
    """Raises Refused."""
    description = before.description if payload.description is None else payload.description
    newest = before.versions[-1] if before.versions else None
    schema = msgspec.json.decode(payload.schema)
    if newest is not None and newest.registered_ms and msgspec.json.decode(newest.schema) == schema:
        return msgspec.structs.replace(before, description=description)
    if newest is not None:
        _is_compatible(newest, schema)
    number = 1 if newest is None else newest.version + 1
    version = SchemaVersion(version=number, schema=payload.schema, registered_ms=asked.append_ms)
    versions = [*before.versions, version][-VERSIONS_KEPT:]
    return msgspec.structs.replace(before, description=description, versions=versions)


def _is_compatible(newest: SchemaVersion, schema: dict[str, object]) -> None:
    """Raises Refused."""
    narrower = incompatibilities(msgspec.json.decode(newest.schema), schema)
    if narrower:
        errors = tuple(FieldError("schema", message) for message in narrower)
        raise Refused(409, "incompatible_schema", f"{NOT_COMPATIBLE}: {narrower[0]}.", errors)


def _first(asked: Asked, kind: str) -> EventType:
    """Of a type that nobody registered here: without versions, or with the platform's."""
    command = asked.command
    known = CATALOG.get(kind)
    versions = []
    if known is not None and known.schema is not None:
        versions = [SchemaVersion(version=1, schema=msgspec.json.encode(known.schema), registered_ms=0)]
    return EventType(
        id=kind,
        workspace=command.workspace,
        environment=command.environment,
        created_ms=asked.append_ms,
        description=None if known is None else known.description,
        versions=versions,
    )
