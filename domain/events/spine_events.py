"""An event of the spine: what its document allows, and how an Avro `Event` holds it.

Its source is the `actor`: `{"type": "source", "id": <source>}`, with `cloudevent` next to them where it came as one
(cloudevents.py). `metadata` is the document's without `orgId`, which is the workspace's own (S-024).
`occurred_at` is the time at which Atlas took it (S-013), so events are not compared by it.
Rows of docs/requirements.md: S-005, S-008, S-014.
"""

import re
from typing import Any

import msgspec
import orjson

from domain.entities.organizations import org_of
from domain.entities.patterns import TYPE_SEGMENTS_MAX
from domain.events.avro import encode_event
from domain.events.familiar_shapes import of_object, of_text
from domain.events.fields import REQUIRED, UNKNOWN, FieldErrors, no_object, shown
from domain.events.rules import EventFields, EventInvalid
from domain.json import canonical as canonical_json
from domain.json.canonical import canonical
from domain.json.strict import JsonError, members, parse_object
from domain.security.gateway_signatures import HASH_BYTES
from schemas import ids
from schemas.times import rfc3339
from schemas.topics import SPINE_STREAM

STREAM = SPINE_STREAM
SOURCE_TERM = ".source"  # no key of metadata has a dot
"""The key by which the read model finds events by source, among the keys of their metadata."""
SOURCE = "source"
BODY_BYTES_MAX = 1_048_576
TYPE_CHARACTERS_MAX = 128
SOURCE_CHARACTERS_MAX = 256
METADATA_KEYS_MAX, METADATA_KEY_CHARACTERS_MAX, METADATA_VALUE_CHARACTERS_MAX = 20, 64, 512
TAGS_MAX, TAG_CHARACTERS_MAX = 50, 128
ORG, TAGS = "orgId", "tags"
NO_TYPE = "Event type must follow dot notation (e.g., 'code.analysis.complete')"
NO_SOURCE = f"A source is a text of 1 to {SOURCE_CHARACTERS_MAX} printable characters."
NO_TAGS = f"Expected an array of at most {TAGS_MAX} strings of 1 to {TAG_CHARACTERS_MAX} printable characters."
NO_VALUE = f"Expected a string of at most {METADATA_VALUE_CHARACTERS_MAX} characters, without U+0000."
NO_KEY = f"A key of metadata has 1 to {METADATA_KEY_CHARACTERS_MAX} printable characters, without a dot."

_FIELDS = frozenset({"type", "source", "data", "metadata"})
_TYPE = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")


class SpineEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`data`, `metadata`: JSON objects as text; `metadata` is None where it has no key but `orgId`, which is `org`.

    `cloudevent`: the attributes that the spine has no field for, of one that came as a CloudEvent.
    """

    type: str
    source: str
    data: bytes
    metadata: bytes | None = None
    org: str | None = None
    cloudevent: dict[str, Any] | None = None


def read_spine_event(body: bytes) -> SpineEvent:
    """The body of POST /v1/events. Raises EventInvalid with every error."""
    try:
        values, texts = parse_object(body)
    except JsonError as error:
        errors = FieldErrors()
        errors.add(error.path or "body", of_text(body) or error.message)
        raise EventInvalid(tuple(errors.listed)) from None
    errors = FieldErrors()
    shape = None if values.keys() <= _FIELDS else of_object(set(values))
    if shape is not None:
        errors.add("body", shape)
        raise EventInvalid(tuple(errors.listed))
    for name in ("type", SOURCE, "data"):
        if values.get(name) is None:
            errors.add(name, REQUIRED)
    for name in values.keys() - _FIELDS:
        errors.add(shown(name), UNKNOWN)
    check_type(values.get("type"), errors)
    check_source(values.get(SOURCE), errors)
    if type(values.get("data")) not in (dict, type(None)):
        errors.add("data", no_object(values["data"]))
    org, metadata = _metadata(values.get("metadata"), bytes(texts.get("metadata", b"")), errors)
    if errors.listed:
        raise EventInvalid(tuple(errors.listed), errors.more)
    return SpineEvent(type=values["type"], source=values[SOURCE], data=bytes(texts["data"]), metadata=metadata, org=org)


def is_type(text: str) -> bool:
    return (
        len(text) <= TYPE_CHARACTERS_MAX and text.count(".") < TYPE_SEGMENTS_MAX and _TYPE.fullmatch(text) is not None
    )


def check_type(value: object, errors: FieldErrors) -> None:
    if value is not None and not (type(value) is str and is_type(value)):
        errors.add("type", NO_TYPE)


def check_source(value: object, errors: FieldErrors) -> None:
    if value is not None and not is_text(value, SOURCE_CHARACTERS_MAX):
        errors.add(SOURCE, NO_SOURCE)


def is_text(value: object, characters_max: int) -> bool:
    """One printable line."""
    return type(value) is str and 0 < len(value) <= characters_max and value.isprintable()


def is_own_org(org: str, workspace: str) -> bool:
    """An org is called by its own name or by its workspace's id."""
    return org in (org_of(workspace), workspace)


def digest_of(event: SpineEvent) -> bytes:
    """16 bytes that differ between two events under one key."""
    return canonical_json.payload_hash(
        event.type.encode(),
        event.source.encode(),
        canonical(event.data),
        None if event.metadata is None else canonical(event.metadata),
        None if event.cloudevent is None else orjson.dumps(event.cloudevent, option=orjson.OPT_SORT_KEYS),
    )[:HASH_BYTES]


def event_id_of(workspace: str, environment: str, key: str, digest: bytes, now_ms: int) -> str:
    """Under a key: it follows from what was read. Without a key each publish is an event of its own, so its id is a
    random one (S-014).
    """
    scope = f"{workspace}\0{environment}\0{STREAM}".encode()
    return ids.derived_id(ids.EVENT, now_ms, scope, key.encode(), digest)


def encode_spine_event(event: SpineEvent, event_id: str, key: str | None, now_ms: int) -> bytes:
    """An Avro `Event`, its header in front."""
    fields = EventFields(
        stream=STREAM,
        type=event.type,
        occurred_at=rfc3339(now_ms),
        occurred_ms=now_ms,
        data=event.data,
        actor=actor_of(event.source, event.cloudevent),
        metadata=event.metadata,
        idempotency_key=key,
    )
    return encode_event(fields, event_id)


def actor_of(source: str, cloudevent: dict[str, Any] | None = None) -> bytes:
    actor: dict[str, Any] = {"type": SOURCE, "id": source}
    if cloudevent is not None:
        actor["cloudevent"] = cloudevent
    return orjson.dumps(actor)


def actor_from(text: bytes | str | None) -> dict[str, Any]:
    """Of a record that admission took, be it one of a direct Kafka producer: empty where it named no actor."""
    try:
        actor = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {}
    return actor if isinstance(actor, dict) else {}


def source_of(text: bytes | str | None) -> str:
    source = actor_from(text).get("id")
    return source if isinstance(source, str) else ""


def _metadata(value: object, text: bytes, errors: FieldErrors) -> tuple[str | None, bytes | None]:
    """The org that it names, and the rest as text."""
    if value is None:
        return None, None
    if type(value) is not dict:
        errors.add("metadata", no_object(value))
        return None, None
    try:
        members(text, "metadata")
    except JsonError as error:
        errors.add(error.path or "metadata", error.message)
    check_metadata(value, errors)
    org = value.get(ORG)
    rest = {name: entry for name, entry in value.items() if name != ORG and entry is not None}
    return org, orjson.dumps(rest) if rest and not errors.listed else None


def check_metadata(value: dict[str, Any], errors: FieldErrors) -> None:
    """`tags` is a list of strings, all others are strings (S-008); null counts as absent."""
    if len(value) > METADATA_KEYS_MAX:
        errors.add("metadata", f"The object has {len(value)} keys; {METADATA_KEYS_MAX} are allowed.")
    for name, entry in value.items():
        field = f"metadata.{shown(name)}"
        if not is_text(name, METADATA_KEY_CHARACTERS_MAX) or "." in name or name == "__proto__":
            errors.add(field, NO_KEY)
        elif name == TAGS:
            if entry is not None and not _are_tags(entry):
                errors.add(field, NO_TAGS)
        elif entry is not None and not _is_value(entry):
            errors.add(field, NO_VALUE)


def _is_value(entry: object) -> bool:
    return type(entry) is str and len(entry) <= METADATA_VALUE_CHARACTERS_MAX and "\x00" not in entry


def _are_tags(entry: object) -> bool:
    return type(entry) is list and len(entry) <= TAGS_MAX and all(is_text(tag, TAG_CHARACTERS_MAX) for tag in entry)
