"""One event: from a caller's bytes to checked fields, its payload's hash, its id and its Avro record.

The gateway and admission share these rules, so an event means the same over HTTP, in a batch and straight from Kafka.
`read_event` reports all errors at once. `data`, `actor` and `metadata` are kept as the bytes that were sent; their
canonical form is hashed (domain/json/canonical.py). An optional field that is null counts as absent.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from domain.events.familiar_shapes import of_object, of_text
from domain.events.fields import (
    NO_KEY,
    NO_STREAM,
    NO_TYPE,
    REQUIRED,
    STREAM_OF_TOPIC,
    UNKNOWN,
    FieldErrors,
    check_actor,
    check_data,
    check_metadata,
    check_text,
    check_time,
    is_key,
    is_stream_name,
    is_type,
    shown,
)
from domain.json import canonical as canonical_json
from domain.json.canonical import canonical
from domain.json.strict import JsonError, members, parse, parse_object
from domain.security.gateway_signatures import HASH_BYTES
from schemas import ids
from schemas.errors import FieldError

SURFACE = "events"

Texts = Mapping[str, bytes | msgspec.Raw]

_FIELDS = frozenset(("stream", "type", "occurred_at", "data", "actor", "metadata"))
_FIELDS_AND_KEY = _FIELDS | {"idempotency_key"}
_FIELDS_OF_DIRECT = _FIELDS_AND_KEY | {"id", "received_at"}


class EventFields(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A checked event. `stream` is empty where a direct record left it to its topic."""

    stream: str
    type: str
    occurred_at: str
    occurred_ms: int
    data: bytes
    actor: bytes | None = None
    metadata: bytes | None = None
    idempotency_key: str | None = None


class EventInvalid(Exception):
    """Not an event. `errors`: at most 20, in the order found; `more`: how many beyond them."""

    def __init__(self, errors: tuple[FieldError, ...], more: int = 0) -> None:
        tail = f"; and {more} more" if more else ""
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors) + tail)
        self.errors = errors
        self.more = more


def read_event(
    body: bytes, *, now_ms: int, allow_key_field: bool, stream_required: bool = True, key: str | None = None
) -> EventFields:
    """One event in JSON. Raises EventInvalid with every error.

    `key`: the checked key of the request's header; `allow_key_field`: the body may hold `idempotency_key` (batches).
    """
    known = _FIELDS_AND_KEY if allow_key_field else _FIELDS
    return _read(body, known, now_ms=now_ms, stream_required=stream_required, key=key)


def read_direct_event(body: bytes, *, now_ms: int) -> EventFields:
    """JSON that a Kafka producer wrote: `stream` may be left out, `id` and `received_at` are ignored (K10)."""
    return _read(body, _FIELDS_OF_DIRECT, now_ms=now_ms, stream_required=False, key=None)


def check_fields(
    *,
    stream: str,
    type: str,
    occurred_at: str,
    data: bytes,
    actor: bytes | None,
    metadata: bytes | None,
    idempotency_key: str | None,
    now_ms: int,
) -> EventFields:
    """The same rules for the fields of an Avro `Event`; an empty `stream` is left to the topic. Raises EventInvalid."""
    values: dict[str, Any] = {"type": type, "occurred_at": occurred_at}
    texts: dict[str, bytes] = {}
    if stream:
        values["stream"] = stream
    if idempotency_key is not None:
        values["idempotency_key"] = idempotency_key
    errors = FieldErrors()
    for name, text in (("data", data), ("actor", actor), ("metadata", metadata)):
        if text is not None:
            _parse_part(name, text, values, texts, errors)
    return _checked(values, texts, now_ms=now_ms, stream_required=False, key=None, errors=errors)


def payload_hash(fields: EventFields) -> bytes:
    """16 bytes over stream, type, occurred_at and the canonical data, actor and metadata, each length-prefixed."""
    actor, metadata = fields.actor, fields.metadata
    return canonical_json.payload_hash(
        fields.stream.encode(),
        fields.type.encode(),
        fields.occurred_at.encode(),
        canonical(fields.data),
        None if actor is None else canonical(actor),
        None if metadata is None else canonical(metadata),
    )[:HASH_BYTES]


def event_id(workspace: str, environment: str, surface: str, fields: EventFields, payload_hash: bytes) -> str:
    """The same id for the same event: its time is `occurred_at`, the rest a hash of scope, key and payload (A-003)."""
    scope = f"{workspace}\0{environment}\0{surface}".encode()
    key = fields.idempotency_key or ""
    return ids.derived_id(ids.EVENT, fields.occurred_ms, scope, key.encode(), payload_hash)


def to_record(fields: EventFields, event_id: str) -> dict[str, Any]:
    """What `codec.EVENT` encodes."""
    return {
        "id": event_id,
        "stream": fields.stream,
        "type": fields.type,
        "occurred_at": fields.occurred_at,
        "data": fields.data,
        "actor": fields.actor,
        "metadata": fields.metadata,
        "idempotency_key": fields.idempotency_key,
    }


def _read(body: bytes, known: frozenset[str], *, now_ms: int, stream_required: bool, key: str | None) -> EventFields:
    try:
        values, texts = parse_object(body)
    except JsonError as error:
        message = of_text(body) or error.message
        raise EventInvalid((FieldError(error.path or "body", message),)) from None
    errors = FieldErrors()
    if not values.keys() <= known:
        shape = of_object(set(values))
        if shape is not None:
            raise EventInvalid((FieldError("body", shape),))
        for name in values:
            if name not in known:
                errors.add(shown(name), UNKNOWN)
    return _checked(values, texts, now_ms=now_ms, stream_required=stream_required, key=key, errors=errors)


def _checked(
    values: dict[str, Any],
    texts: Texts,
    *,
    now_ms: int,
    stream_required: bool,
    key: str | None,
    errors: FieldErrors,
) -> EventFields:
    """The rules, field by field in the document's order."""
    stream, kind, data = values.get("stream"), values.get("type"), values.get("data")
    if stream == "" and not stream_required:
        errors.add("stream", STREAM_OF_TOPIC)
    elif stream is not None:
        check_text("stream", stream, is_stream_name, NO_STREAM, errors)
    elif stream_required:
        errors.add("stream", REQUIRED)
    check_text("type", kind, is_type, NO_TYPE, errors)
    occurred_ms = check_time(values.get("occurred_at"), now_ms, errors)
    data_text = bytes(texts["data"]) if "data" in texts else b""
    check_data(data, data_text, errors)
    actor = _optional_object("actor", check_actor, values, texts, errors)
    metadata = _optional_object("metadata", check_metadata, values, texts, errors)
    in_body = values.get("idempotency_key")
    if in_body is not None:
        check_text("idempotency_key", in_body, is_key, NO_KEY, errors)
    if errors.listed:
        raise EventInvalid(tuple(errors.listed), errors.more)
    return EventFields(
        stream=stream or "",
        type=values["type"],
        occurred_at=values["occurred_at"],
        occurred_ms=occurred_ms,
        data=data_text,
        actor=actor,
        metadata=metadata,
        idempotency_key=in_body if key is None else key,
    )


def _optional_object(
    name: str, check: Callable[[object, FieldErrors], None], values: dict[str, Any], texts: Texts, errors: FieldErrors
) -> bytes | None:
    """The text of `actor` or `metadata` when it is given. A name given twice in it is an error too (J10)."""
    value = values.get(name)
    if value is None:
        return None
    check(value, errors)
    text = bytes(texts[name])
    if type(value) is dict and text.count(b":") != len(value):  # each member brings a colon, so mostly they are equal
        try:
            members(text, name)
        except JsonError as error:
            errors.add(error.path or name, error.message)
    return text


def _parse_part(name: str, text: bytes, values: dict[str, Any], texts: dict[str, bytes], errors: FieldErrors) -> None:
    """One JSON text of an Avro record, read as strictly as a body."""
    try:
        values[name] = parse(text)
        texts[name] = text.strip()
    except JsonError as error:
        errors.add(name, error.message)
        if name == "data":  # reported once: the other rules go on as if it were empty
            values[name], texts[name] = {}, b"{}"
