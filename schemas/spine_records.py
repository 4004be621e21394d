"""Records that Kafka producers write straight to the spine's topic: which event each is, and where its data is. Pure.

Three forms: a CloudEvent by the Kafka protocol binding (binary: `ce_…` headers and the data as value; structured: the
header `content-type: application/cloudevents+json`), the document's JSON (`type`, `source`, `data`, `metadata`), or an
Avro `Event` whose actor's id is the source. A header `idempotency-key` names the event as it does over HTTP; a
CloudEvent is named by its id and source, an Avro `Event` by its own field.
"""

from collections.abc import Mapping

import orjson

from schemas.cloudevents import KAFKA_PREFIX, STRUCTURED, key_of, read_binary, read_structured
from schemas.codec import EVENT
from schemas.direct_records import SCHEMA_HEADER, Headers, avro_of, data_of_admitted
from schemas.event_fields import NO_KEY, Faults, is_key
from schemas.event_rules import EventInvalid
from schemas.spine_events import SpineEvent, read_spine_event, source_of

CONTENT_TYPE, KEY = "content-type", "idempotency-key"
VERSION = KAFKA_PREFIX + "specversion"


def carried_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """Those that say which event a record is, and how it is written."""
    return [
        (name, value)
        for name, value in headers
        if value is not None and (name.startswith(KAFKA_PREFIX) or name.lower() in (CONTENT_TYPE, KEY, SCHEMA_HEADER))
    ]


def read_spine_record(value: bytes, headers: Headers) -> tuple[SpineEvent, str | None]:
    """The event and its idempotency key. Raises EventInvalid, Undecodable."""
    texts = _texts(headers)
    key = texts.get(KEY)
    if key is not None and not is_key(key):
        raise _invalid(KEY, NO_KEY)
    if _is_cloudevent(texts):
        event = _cloudevent(value, texts)
        return event, key or key_of(event)
    avro = avro_of(value, headers)
    return (read_spine_event(value), key) if avro is None else _avro(avro, key)


def data_of(value: bytes, headers: Headers) -> bytes:
    """`data` of a record that admission took, whoever wrote it."""
    if _is_cloudevent(_texts(headers)):
        return read_spine_record(value, headers)[0].data
    return data_of_admitted(value, headers)


def _texts(headers: Headers) -> dict[str, str]:
    return {name.lower(): text.decode("utf-8", "replace") for name, text in carried_headers(headers)}


def _is_cloudevent(texts: Mapping[str, str]) -> bool:
    return VERSION in texts or texts.get(CONTENT_TYPE, "").lower().startswith(STRUCTURED)


def _cloudevent(value: bytes, texts: Mapping[str, str]) -> SpineEvent:
    if VERSION not in texts:
        return read_structured(value)
    start = len(KAFKA_PREFIX)
    attributes = {name[start:]: text for name, text in texts.items() if name.startswith(KAFKA_PREFIX)}
    return read_binary(attributes, texts.get(CONTENT_TYPE), value)


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
    faults = Faults()
    faults.add(field, message)
    return EventInvalid(tuple(faults.listed))
