"""What a Kafka producer's record holds: JSON, or an Avro `Event` that is marked in one of three ways.

They are the mark of single-object encoding before the value, a schema registry's id before it (Confluent's older
form), or the id or GUID in a header, with nothing before the value. A record whose first field is empty then begins
with a zero, as the older form does, so the header is looked at first, as Confluent's deserializers do.
"""

import struct
from typing import NamedTuple
from uuid import UUID

from domain.json.strict import members
from schemas.codec import EVENT, REGISTRY_MARK, SINGLE_OBJECT_MARK, SchemaRef, UnknownSchema
from schemas.log_records import Headers

SCHEMA_HEADER = "__value_schema_id"

_ID, _GUID_MARK, _GUID_BYTES = struct.Struct(">BI"), b"\x01", 17
_WHITE_SPACE = b" \t\r\n"


class SchemaNamed(NamedTuple):
    """The schema that a registry's serializer says it wrote with, and where the record begins in the value."""

    ref: SchemaRef
    body_at: int


def schema_named(value: bytes, headers: Headers) -> SchemaNamed | None:
    """None where the value shows its form: JSON (whose serializer for JSON Schema may set the header too; no record of
    ours begins with a brace) and single-object encoding.
    """
    first = value[:1]
    if value[:2] == SINGLE_OBJECT_MARK or first == b"{" or value.lstrip(_WHITE_SPACE)[:1] == b"{":
        return None
    for name, mark in headers:
        if name == SCHEMA_HEADER and (ref := _ref_in(mark)) is not None:
            return SchemaNamed(ref, 0)
    if first == REGISTRY_MARK and len(value) >= _ID.size:
        return SchemaNamed(_ID.unpack_from(value)[1], _ID.size)
    return None


def avro_of(value: bytes, headers: Headers) -> bytes | None:
    """The `Event` in single-object encoding; None where the value is to be read as JSON. Raises UnknownSchema."""
    named = schema_named(value, headers)
    if named is not None:
        if not EVENT.knows(named.ref):
            raise UnknownSchema(named.ref, EVENT.schema.name)
        return EVENT.schema.mark + value[named.body_at :]
    return value if EVENT.reads(value) else None


def data_of_admitted(value: bytes, headers: Headers) -> bytes:
    """`data` of a record that admission admitted, in any of the forms. Admission has checked the record's schema, so a
    later reader need not know the registry's id.

    Raises Undecodable, or the JSON parser's error for a record that admission did not admit.
    """
    named = schema_named(value, headers)
    if named is not None:
        return bytes(EVENT.decode_body(value[named.body_at :])["data"])
    if EVENT.reads(value):
        return bytes(EVENT.decode(value)["data"])
    return bytes(members(value)["data"])


def _ref_in(mark: bytes | None) -> SchemaRef | None:
    """A zero and an id of 4 bytes, or a one and a GUID of 16; Protobuf's serializer adds numbers, which are left."""
    if mark is None:
        return None
    if mark[:1] == _GUID_MARK and len(mark) >= _GUID_BYTES:
        return UUID(bytes=mark[1:_GUID_BYTES])
    if mark[:1] == REGISTRY_MARK and len(mark) >= _ID.size:
        return int(_ID.unpack_from(mark)[1])
    return None
