"""Where the fields of an encoded `Event` begin and end, so that admission can pass its pieces on as they are.

Only for bytes that a gateway signed: they are well-formed by construction. Others are read by the codec
(schemas/codec.py). The order of fields is that of avro/Event.avsc; `Decision` has the same fields in the same order,
so their pieces fit as they are.
"""

import msgspec

from schemas.avro_pieces import read_long
from schemas.codec import EVENT

_NULL = 0
_MARK = EVENT.schema.mark
_MARK_BYTES = len(_MARK)
_LONGER = 0x80  # a byte from here on is not the whole number


class EventPieces(msgspec.Struct, frozen=True, gc=False):
    """`…_field`: encoded as they are. `kind_fields`: type and occurred_at; `optional_fields`: actor, metadata,
    key.
    """

    event_id: str
    id_field: bytes
    kind_fields: bytes
    optional_fields: bytes
    data_bytes: int
    idempotency_key: str | None
    value: bytes

    @property
    def body(self) -> bytes:
        """The record without its header."""
        return EVENT.body_of(self.value)


def pieces_of(value: bytes) -> EventPieces:
    """Of an encoded Event with its header. Raises Undecodable, IndexError or UnicodeDecodeError where it is none.

    Lengths of one byte are read in place, as nearly all are: calls would take longer than all the rest.
    """
    id_at = _MARK_BYTES if value[:_MARK_BYTES] == _MARK else EVENT.header_length(value)
    id_length = value[id_at]
    id_end = id_at + 1 + (id_length >> 1)
    stream_length = value[id_end]
    kind_at = id_end + 1 + (stream_length >> 1)
    type_length = value[kind_at]
    time_at = kind_at + 1 + (type_length >> 1)
    time_length = value[time_at]
    kind_end = time_at + 1 + (time_length >> 1)
    id_text = id_at + 1
    if (id_length | stream_length | type_length | time_length) >= _LONGER:
        id_text, id_end = _field(value, id_at)
        kind_at = _field(value, id_end)[1]
        kind_end = _field(value, _field(value, kind_at)[1])[1]
    data_bytes, data_at = read_long(value, kind_end)
    optional_at = data_at + data_bytes
    metadata_at = optional_at + 1
    if value[optional_at] != _NULL:
        length = value[metadata_at]
        metadata_at = metadata_at + 1 + (length >> 1) if length < _LONGER else _field(value, metadata_at)[1]
    key_at = metadata_at + 1
    if value[metadata_at] != _NULL:
        length = value[key_at]
        key_at = key_at + 1 + (length >> 1) if length < _LONGER else _field(value, key_at)[1]
    key = None
    if value[key_at] != _NULL:
        key_text, key_end = _field(value, key_at + 1)
        key = value[key_text:key_end].decode()
    return EventPieces(
        value[id_text:id_end].decode(),
        value[id_at:id_end],
        value[kind_at:kind_end],
        value[optional_at:],
        data_bytes,
        key,
        value,
    )


def _field(value: bytes, at: int) -> tuple[int, int]:
    """Where the bytes of a text begin and end."""
    length = value[at]
    if length < _LONGER:
        at += 1
        return at, at + (length >> 1)
    length, at = read_long(value, at)
    return at, at + length
