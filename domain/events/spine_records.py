"""Records that Kafka producers write straight to the spine's topic: which event each is, and where its data is.

Three forms: a CloudEvent by the Kafka protocol binding (binary: `ce_…` headers and the data as value, which may be null
or empty; structured: the header `content-type: application/cloudevents+json`), the document's JSON (`type`, `source`,
`data`, `metadata`), or an Avro `Event` whose actor's id is the source. A header `idempotency-key` names the event as it
does over HTTP; a CloudEvent is named by its id and source, an Avro `Event` by its own field.
"""

from collections.abc import Sequence

import orjson

from domain.events.cloudevents import (
    ANY_FORMAT,
    KAFKA_PREFIX,
    NO_UTF8,
    STRUCTURED,
    TWO_VALUES,
    attributes_of,
    key_of,
    media_type_of,
    read_binary,
    read_structured,
)
from domain.events.direct_records import SCHEMA_HEADER, avro_of, data_of_admitted, schema_named
from domain.events.fields import NO_KEY, FieldErrors, is_key
from domain.events.rules import EventInvalid
from domain.events.spine_events import SpineEvent, read_spine_event, source_of
from schemas.codec import EVENT
from schemas.log_records import Headers

CONTENT_TYPE, KEY = "content-type", "idempotency-key"
VERSION = KAFKA_PREFIX + "specversion"
NO_FORMAT = f"Of CloudEvents in one piece {STRUCTURED} is read here; with `ce_…` headers the value is the data alone."


def carried_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """Those that say which event a record is, and how it is written."""
    return [
        (name, value)
        for name, value in headers
        if value is not None and (name.startswith(KAFKA_PREFIX) or name.lower() in (CONTENT_TYPE, KEY, SCHEMA_HEADER))
    ]


def is_binary(headers: Headers) -> bool:
    """Whether its headers hold a CloudEvent's attributes: then the value is the data, and may be missing."""
    return any(name.lower() == VERSION and value is not None for name, value in headers)


def read_spine_record(value: bytes, headers: Headers) -> tuple[SpineEvent, str | None]:
    """The event and its idempotency key. Raises EventInvalid, Undecodable."""
    carried = carried_headers(headers)
    key, content_type = _header(carried, KEY), _header(carried, CONTENT_TYPE)
    if key is not None and not is_key(key):
        raise _invalid(KEY, NO_KEY)
    media = media_type_of(content_type)
    if media.startswith(ANY_FORMAT):
        if media != STRUCTURED:
            raise _invalid(CONTENT_TYPE, NO_FORMAT)
        event = read_structured(value)
        return event, key or key_of(event)
    if is_binary(carried):
        event = read_binary(attributes_of(carried, KAFKA_PREFIX), content_type, value)
        return event, key or key_of(event)
    avro = avro_of(value, headers)
    return (read_spine_event(value), key) if avro is None else _avro(avro, key)


def data_of(value: bytes | None, headers: Headers) -> bytes:
    """`data` of a record that admission admitted, from a gateway or a producer."""
    value = value or b""
    if not is_binary(headers) and (EVENT.reads(value) or schema_named(value, headers) is not None):
        return data_of_admitted(value, headers)
    return read_spine_record(value, headers)[0].data


def _header(carried: Sequence[tuple[str, bytes]], name: str) -> str | None:
    values = {value for header, value in carried if header.lower() == name}
    if len(values) > 1:
        raise _invalid(name, TWO_VALUES)
    try:
        return next((value.decode() for value in values), None)
    except UnicodeDecodeError:
        raise _invalid(name, NO_UTF8) from None


def _avro(value: bytes, key: str | None) -> tuple[SpineEvent, str | None]:
    """Its parts are held to the document's rules, as if they had come in its form."""
    event = EVENT.decode(value)
    own_key = event["idempotency_key"]
    if own_key is not None and not is_key(own_key):
        raise _invalid("idempotency_key", NO_KEY)
    parts = [
        b'{"type":' + orjson.dumps(event["type"]),
        b'"source":' + orjson.dumps(source_of(event["actor"]) or None),
        b'"data":' + event["data"],
        b'"metadata":' + (event["metadata"] or b"null"),
    ]
    return read_spine_event(b",".join(parts) + b"}"), key or own_key


def _invalid(field: str, message: str) -> EventInvalid:
    errors = FieldErrors()
    errors.add(field, message)
    return EventInvalid(tuple(errors.listed))
