"""From a stream topic's record to a checked event, or the reason why it is none. Pure but for the codec.

A record with our signature was checked by a gateway, which also computed its id and hash. Any other is a direct Kafka
producer's, in Avro or JSON: it is held to the same rules as over HTTP, its id and hash are computed here, and what it
says of them is ignored (K10). The topic says whose it is, never the record (K9). It may have as many bytes
as an event over HTTP, so that what is made of it (a delivery, a record written once more) fits Kafka's limits (K13).
"""

from collections.abc import Callable

import msgspec

from domain.events.avro import encode_event
from domain.events.direct_records import avro_of
from domain.events.rules import (
    EventFields,
    EventInvalid,
    check_fields,
    event_id,
    payload_hash,
    read_direct_event,
)
from domain.events.spine_events import STREAM as SPINE
from domain.events.spine_events import digest_of, encode_spine_event, event_id_of, is_own_org
from domain.events.spine_records import is_binary, read_spine_record
from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from schemas.codec import EVENT, SchemaRef, Undecodable, UnknownSchema
from schemas.event_layout import EventPieces, pieces_of
from schemas.log_records import Headers, LogRecord
from schemas.topics import StreamTopic, surface_of

DIRECT_BYTES_MAX = 1_048_576


class Unreadable(Exception):
    """This record is no event. `reason` is one of a closed set."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ReadEvent(msgspec.Struct, frozen=True, gc=False):
    """A checked event, as the pieces of its Avro form. `direct`: written by a Kafka producer, not by a gateway."""

    pieces: EventPieces
    payload_hash: bytes
    direct: bool


def without_registry(ref: SchemaRef) -> str:
    """Why a record that names a registry's schema is not read where no registry is set."""
    return (
        f"the record names schema {ref} of a schema registry, and Atlas runs without one (SCHEMA_REGISTRY_URL); "
        "write JSON, or Avro in single-object encoding"
    )


def read(
    record: LogRecord,
    topic: StreamTopic,
    signer: GatewaySigner,
    why_unknown: Callable[[SchemaRef], str] = without_registry,
) -> ReadEvent:
    """`why_unknown`: the sentence about a registry's schema that is not ours. Raises Unreadable."""
    value = record.value or b""
    if not value and not (topic.stream == SPINE and is_binary(record.headers)):
        raise Unreadable("empty_value", "the record has no value")
    signed_hash = signer.verified_hash(record.topic, record.header(GATEWAY_SIGNATURE), value)
    if signed_hash is None:
        return _direct(record, value, topic, why_unknown)
    try:
        return ReadEvent(pieces_of(value), signed_hash, False)
    except (Undecodable, IndexError, UnicodeDecodeError) as error:
        raise Unreadable("unreadable", str(error)) from error


def _direct(record: LogRecord, value: bytes, topic: StreamTopic, why_unknown: Callable[[SchemaRef], str]) -> ReadEvent:
    if len(value) > DIRECT_BYTES_MAX:
        raise Unreadable("too_large", f"the value has {len(value)} bytes; {DIRECT_BYTES_MAX} are allowed")
    try:
        if topic.stream == SPINE:
            return _of_spine(record, value, topic)
        return _of_stream(value, record.headers, topic, record.timestamp)
    except UnknownSchema as error:
        raise Unreadable("unreadable", why_unknown(error.ref)) from error
    except Undecodable as error:
        raise Unreadable("unreadable", str(error)) from error
    except EventInvalid as error:
        raise Unreadable("invalid", str(error)) from error


def _of_stream(value: bytes, headers: Headers, topic: StreamTopic, now_ms: int) -> ReadEvent:
    avro = avro_of(value, headers)
    fields = read_direct_event(value, now_ms=now_ms) if avro is None else _fields_of_avro(avro, now_ms)
    if fields.stream not in ("", topic.stream):
        raise Unreadable("wrong_stream", f"the record says stream {fields.stream}, the topic says {topic.stream}")
    fields = msgspec.structs.replace(fields, stream=topic.stream)
    digest = payload_hash(fields)
    identifier = event_id(topic.workspace, topic.environment, surface_of(topic.stream), fields, digest)
    return ReadEvent(pieces_of(encode_event(fields, identifier)), digest, True)


def _of_spine(record: LogRecord, value: bytes, topic: StreamTopic) -> ReadEvent:
    """Without a key the record is an event of its own, named by where it stands."""
    event, key = read_spine_record(value, record.headers)
    if event.org is not None and not is_own_org(event.org, topic.workspace):
        raise Unreadable("invalid", "the event names another organization")
    digest = digest_of(event)
    named = key or f"{record.topic}/{record.partition}/{record.offset}"
    identifier = event_id_of(topic.workspace, topic.environment, named, digest, record.timestamp)
    return ReadEvent(pieces_of(encode_spine_event(event, identifier, key, record.timestamp)), digest, True)


def _fields_of_avro(value: bytes, now_ms: int) -> EventFields:
    fields = EVENT.decode(value)
    del fields["id"]
    return check_fields(**fields, now_ms=now_ms)
