"""Where the fields of an encoded `Event` stand, so that admission can hand its pieces on as they are.

Only for bytes that a gateway sealed: they are well-formed by construction. Others are read by the codec
(schemas/codec.py). The order of fields is that of avro/Event.avsc; `Decision` has the same fields in the same order,
so their pieces fit as they are.
"""

import msgspec

from schemas.avro_pieces import read_long
from schemas.codec import EVENT


class EventPieces(msgspec.Struct, frozen=True, gc=False):
    """`…_field`: encoded as they stand. `kind_fields`: type and occurred_at; `optional_fields`: actor, metadata,
    key.
    """

    event_id: str
    id_field: bytes
    kind_fields: bytes
    optional_fields: bytes
    data_bytes: int
    idempotency_key: str | None
    body: bytes


def pieces_of(value: bytes) -> EventPieces:
    """Of an encoded Event with its header. Raises IndexError or UnicodeDecodeError where it is none."""
    body = EVENT.body_of(value)
    length, at = read_long(body, 0)
    id_end = at + length
    length, kind_at = read_long(body, id_end)  # stream
    kind_at += length
    length, next_at = read_long(body, kind_at)  # type
    length, next_at = read_long(body, next_at + length)  # occurred_at
    kind_end = next_at + length
    data_bytes, next_at = read_long(body, kind_end)
    optional_at = next_at + data_bytes
    key = _key(body, _behind_union(body, _behind_union(body, optional_at)))
    return EventPieces(
        body[at:id_end].decode(),
        body[:id_end],
        body[kind_at:kind_end],
        body[optional_at:],
        data_bytes,
        key,
        body,
    )


def _behind_union(body: bytes, at: int) -> int:
    """Past a union of null and bytes."""
    if body[at] == 0:
        return at + 1
    length, at = read_long(body, at + 1)
    return at + length


def _key(body: bytes, at: int) -> str | None:
    if body[at] == 0:
        return None
    length, at = read_long(body, at + 1)
    return body[at : at + length].decode()
