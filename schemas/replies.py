"""Where a request's verdict goes: the header `atlas-reply` names a partition of `verdicts` and a correlation id.

A correlation id is 128 random bits, so nobody can guess another request's; a reply header that does not fit is ignored.
"""

import struct
from typing import NamedTuple

from schemas.topics import VERDICT_PARTITIONS

REPLY_HEADER = "atlas-reply"
CORRELATION_BYTES = 16
_LAYOUT = struct.Struct(">H16s")
_LAYOUT_BYTES = _LAYOUT.size
_named = tuple.__new__  # what ReplyTo's own constructor calls, without what it does around it


class ReplyTo(NamedTuple):
    partition: int
    correlation: bytes

    def encode(self) -> bytes:
        return _LAYOUT.pack(self.partition, self.correlation)


def decode_reply(header: bytes | None) -> ReplyTo | None:
    if header is None or len(header) != _LAYOUT_BYTES:
        return None
    parts = _LAYOUT.unpack(header)
    return _named(ReplyTo, parts) if parts[0] < VERDICT_PARTITIONS else None
