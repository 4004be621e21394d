"""Where a request's verdict goes: the header `atlas-reply` names a partition of `verdicts` and a correlation id.

A correlation id is 128 random bits, so nobody can guess another request's; a reply header that does not fit is ignored.
"""

import struct
from typing import NamedTuple

from schemas.topics import VERDICT_PARTITIONS

REPLY_HEADER = "atlas-reply"
CORRELATION_BYTES = 16
_LAYOUT = struct.Struct(">H16s")


class ReplyTo(NamedTuple):
    partition: int
    correlation: bytes

    def encode(self) -> bytes:
        return _LAYOUT.pack(self.partition, self.correlation)


def decode_reply(header: bytes | None) -> ReplyTo | None:
    if header is None or len(header) != _LAYOUT.size:
        return None
    reply = ReplyTo(*_LAYOUT.unpack(header))
    return reply if reply.partition < VERDICT_PARTITIONS else None
