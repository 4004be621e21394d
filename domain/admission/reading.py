"""From a stream topic's record to a checked event, or the reason why it is none.

A record with our signature was checked by a gateway, which also computed its id and hash. Any other record was written
by a direct Kafka producer, in Avro or JSON: the same rules hold as over HTTP, its id and hash are computed here, and
the ones in the record are ignored (K10). The topic names the workspace, never the record (K9). A direct record may be
as large as an event over HTTP, so that what is made of it (a delivery, a rerouted record) fits Kafka's limits (K13).
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


class NotAnEvent(Exception):
    """This record is no event. `reason` is one of the dead letters' reasons (processors/admission/metrics.py)."""

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
    """`why_unknown`: the sentence about a registry's schema that is not ours. Raises NotAnEvent."""
    value = record.value or b""
    if not value and not (topic.stream == SPINE and is_binary(record.headers)):
        raise NotAnEvent("empty_value", "the record has no value")
    signed_hash = signer.verified_hash(record.topic, record.header(GATEWAY_SIGNATURE), value)
    if signed_hash is None:
        return _direct(record, value, topic, why_unknown)
    try:
        return ReadEvent(pieces_of(value), signed_hash, False)
    except (Undecodable, IndexError, UnicodeDecodeError) as error:
        raise NotAnEvent("unreadable", str(error)) from error


def _direct(record: LogRecord, value: bytes, topic: StreamTopic, why_unknown: Callable[[SchemaRef], str]) -> ReadEvent:
    if len(value) > DIRECT_BYTES_MAX:
        raise NotAnEvent("too_large", f"the value has {len(value)} bytes; {DIRECT_BYTES_MAX} are allowed")
    try:
        if topic.stream == SPINE:
            return _of_spine(record, value, topic)
        return _of_stream(value, record.headers, topic, record.timestamp)
    except UnknownSchema as error:
        raise NotAnEvent("unreadable", why_unknown(error.ref)) from error
    except Undecodable as error:
        raise NotAnEvent("unreadable", str(error)) from error
    except EventInvalid as error:
        raise NotAnEvent("invalid", str(error)) from error


def _of_stream(value: bytes, headers: Headers, topic: StreamTopic, now_ms: int) -> ReadEvent:
    avro = avro_of(value, headers)
    fields = read_direct_event(value, now_ms=now_ms) if avro is None else _fields_of_avro(avro, now_ms)
    if fields.stream not in ("", topic.stream):
        raise NotAnEvent("wrong_stream", f"the record says stream {fields.stream}, the topic says {topic.stream}")
    fields = msgspec.structs.replace(fields, stream=topic.stream)
    digest = payload_hash(fields)
    identifier = event_id(topic.workspace, topic.environment, surface_of(topic.stream), fields, digest)
    return ReadEvent(pieces_of(encode_event(fields, identifier)), digest, True)


def _of_spine(record: LogRecord, value: bytes, topic: StreamTopic) -> ReadEvent:
    """Without a key the record is an event of its own, named by its position on the log."""
    event, key = read_spine_record(value, record.headers)
    if event.org is not None and not is_own_org(event.org, topic.workspace):
        raise NotAnEvent("invalid", "the event names another organization")
    digest = digest_of(event)
    named = key or f"{record.topic}/{record.partition}/{record.offset}"
    identifier = event_id_of(topic.workspace, topic.environment, named, digest, record.timestamp)
    return ReadEvent(pieces_of(encode_spine_event(event, identifier, key, record.timestamp)), digest, True)


def _fields_of_avro(value: bytes, now_ms: int) -> EventFields:
    fields = EVENT.decode(value)
    del fields["id"]
    return check_fields(**fields, now_ms=now_ms)
