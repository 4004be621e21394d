"""Avro on the wire: single-object encoding by default, the Confluent registry's format where a registry is set.

`encode(record)` and `decode(cls, value)` work on the frozen records of schemas/records.py.
A reader takes both formats. Only writer schemas that Atlas knows are read: a schema from outside could crash the
process (K4, K5), and no schema of ours is recursive. Trailing bytes are an error (K2).
"""

import io
import json
import struct
from dataclasses import dataclass
from importlib import resources
from typing import Any
from uuid import UUID

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.avro_reader import AvroReader, Malformed, reader_of

SINGLE_OBJECT_MARK = b"\xc3\x01"
REGISTRY_MARK = b"\x00"
_REGISTRY_HEADER = struct.Struct(">BI")
_HEADER_BYTES = 10
FOREIGN_CHARACTERS_MAX = 64 * 1024
FOREIGN_DEPTH_MAX = 32


SchemaRef = int | UUID
"""What a schema registry calls a schema: its id, or the GUID that it has in every registry."""


class Undecodable(Exception):
    """The bytes are not a record of the expected schema; the message says why."""


class UnknownSchema(Undecodable):
    """The record names a registry's schema (`ref`) that is not known to be the expected one."""

    def __init__(self, ref: SchemaRef, name: str) -> None:
        super().__init__(f"registry schema {ref} is not a known {name}")
        self.ref = ref


@dataclass(frozen=True)
class AvroSchema:
    name: str
    parsed: Any
    text: str
    canonical: str
    """Avro's parsing canonical form: two schemas that have the same write the same bytes."""
    mark: bytes
    """The mark before a record in single-object encoding: two bytes and the little-endian CRC-64 fingerprint."""

    @classmethod
    def load(cls, name: str) -> "AvroSchema":
        text = resources.files("schemas").joinpath(f"avro/{name}.avsc").read_text()
        raw = json.loads(text)
        canonical = to_parsing_canonical_form(raw)
        mark = SINGLE_OBJECT_MARK + bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))
        return cls(name, fastavro.parse_schema(raw), text, canonical, mark)

    def is_same(self, text: str) -> bool:
        """Whether a stranger's schema writes the same bytes. It is compared and never used; one that is long or deep is
        not even compared, since fastavro walks it without a limit (K4).
        """
        if len(text) > FOREIGN_CHARACTERS_MAX:
            return False
        try:
            raw = json.loads(text)
            return _depth(raw) <= FOREIGN_DEPTH_MAX and to_parsing_canonical_form(raw) == self.canonical
        except Exception:  # whatever a stranger's text makes a parser raise
            return False


class Codec:
    """Writes and reads one schema. `registry_ids`: what a registry calls it; the first is used to write."""

    def __init__(self, name: str) -> None:
        self.schema = AvroSchema.load(name)
        self._prefix = self.schema.mark
        self._registry_ids: set[SchemaRef] = set()
        self._reader: AvroReader | None = None

    @property
    def prefix(self) -> bytes:
        """The mark before each record that is written."""
        return self._prefix

    def use_registry(self, schema_id: int, *also_read: int) -> None:
        """From now on writes in the registry's format, and reads these ids as this schema."""
        self._prefix = _REGISTRY_HEADER.pack(0, schema_id)
        self._registry_ids |= {schema_id, *also_read}

    def also_read(self, ref: SchemaRef) -> None:
        """An id or GUID under which a registry has this very schema as well."""
        self._registry_ids.add(ref)

    def knows(self, ref: SchemaRef) -> bool:
        return ref in self._registry_ids

    def encode(self, record: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        out.write(self._prefix)
        fastavro.schemaless_writer(out, self.schema.parsed, record)
        return out.getvalue()

    def decode(self, value: bytes | None) -> dict[str, Any]:
        """Raises Undecodable for anything but exactly one record of this schema."""
        if not value:
            raise Undecodable("the value is empty")
        return self.decode_body(value[self.header_length(value) :])

    def values(self, value: bytes | None) -> tuple[Any, ...]:
        """The fields' values in the schema's order: `decode` for hot paths, for schemas that avro_reader knows.

        Raises Undecodable.
        """
        if not value:
            raise Undecodable("the value is empty")
        at = _HEADER_BYTES if value.startswith(self.schema.mark) else self.header_length(value)
        if self._reader is None:
            self._reader = reader_of(json.loads(self.schema.text))
        try:
            return self._reader(value, at)
        except Malformed as error:
            raise Undecodable(f"not a readable {self.schema.name}: {error}") from error

    def decode_body(self, body: bytes) -> dict[str, Any]:
        """A record without its header, as a delivery carries an event."""
        source = io.BytesIO(body)
        try:
            record = fastavro.schemaless_reader(source, self.schema.parsed, None)
        except Exception as error:  # fastavro raises IndexError, EOFError, UnicodeDecodeError, ValueError, … (K3)
            raise Undecodable(f"not a readable {self.schema.name}: {type(error).__name__}") from error
        if source.tell() != len(body):
            raise Undecodable(f"{len(body) - source.tell()} bytes follow the {self.schema.name}")
        if not isinstance(record, dict):
            raise Undecodable(f"not a {self.schema.name}")
        return record

    def body_of(self, value: bytes) -> bytes:
        """The record without its header."""
        return value[self.header_length(value) :]

    def reads(self, value: bytes) -> bool:
        """Whether the value claims to be Avro of either format (else it is read as JSON where JSON is taken)."""
        return value[:2] == SINGLE_OBJECT_MARK or value[:1] == REGISTRY_MARK

    def header_length(self, value: bytes) -> int:
        """Of a value of this schema, in either format. Raises Undecodable."""
        if value[:_HEADER_BYTES] == self.schema.mark:
            return _HEADER_BYTES
        if value[:1] == REGISTRY_MARK and len(value) >= _REGISTRY_HEADER.size:
            schema_id = _REGISTRY_HEADER.unpack_from(value)[1]
            if schema_id in self._registry_ids:
                return _REGISTRY_HEADER.size
            raise UnknownSchema(schema_id, self.schema.name)
        if value[:2] == SINGLE_OBJECT_MARK:
            raise Undecodable(f"the fingerprint is not that of {self.schema.name}")
        raise Undecodable("not Avro: neither single-object encoding nor the registry's format")


def _depth(raw: Any) -> int:
    """How deep objects and lists lie in each other; without recursion, since that is what is being measured."""
    deepest, open_values = 0, [(raw, 1)]
    while open_values:
        value, depth = open_values.pop()
        deepest = max(deepest, depth)
        if isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            open_values += [(item, depth + 1) for item in inner]
    return deepest


EVENT = Codec("Event")
DECISION = Codec("Decision")
VERDICT = Codec("Verdict")
COMMAND = Codec("Command")
ENTITY = Codec("Entity")
DELIVERY = Codec("Delivery")
OUTCOME = Codec("Outcome")
DEAD_LETTER = Codec("DeadLetter")
AUDIT = Codec("Audit")
USAGE = Codec("Usage")
SHARES = Codec("Shares")
TELEMETRY = Codec("Telemetry")
KEPT_POSITION = Codec("KeptPosition")
CODECS = (
    *(EVENT, DECISION, VERDICT, COMMAND, ENTITY, DELIVERY, OUTCOME, DEAD_LETTER, AUDIT, USAGE, SHARES, TELEMETRY),
    KEPT_POSITION,
)
