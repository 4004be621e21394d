"""Server-sent events: how an event is written, and the id from which a reader goes on (WHATWG HTML, 9.2).

An id is a cursor on the org's log: the time of the newest event sent, and for each partition the offset behind the
events sent. Its reader may know all of it, so it is not encrypted; it is read strictly all the same.

Only events end with a blank line; all else is single lines. A browser ignores a blank line that ends no data, but
httpx-sse (0.4.3) makes an empty event of it, even behind a comment.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

CONTENT_TYPE = "text/event-stream"
HEARTBEAT = b":\n"
ID_CHARACTERS_MAX = 4_096
PARTITIONS_MAX = 1_024
_LINE_END = re.compile(rb"\r\n|\r|\n")


class StreamCursorInvalid(Exception):
    """Not an id that this API gave out."""


class StreamCursor(msgspec.Struct, array_like=True):
    """Mutable. `offsets`: by partition, of the next record that was not sent. It only moves forward."""

    received_ms: int
    offsets: list[int]

    @classmethod
    def at(cls, ends: Mapping[int, int], received_ms: int = 0) -> "StreamCursor":
        return cls(received_ms, [ends.get(partition, 0) for partition in range(max(ends, default=-1) + 1)])

    def pass_event(self, received_ms: int, partition: int, offset: int) -> None:
        self.received_ms = max(self.received_ms, received_ms)
        self.offsets += [0] * (partition + 1 - len(self.offsets))
        self.offsets[partition] = max(self.offsets[partition], offset + 1)

    def has_passed(self, partition: int, offset: int) -> bool:
        return partition < len(self.offsets) and offset < self.offsets[partition]

    def is_behind(self, other: "StreamCursor") -> bool:
        """Whether all that lies before `other` lies before this one."""
        return all(self.has_passed(partition, offset - 1) for partition, offset in enumerate(other.offsets) if offset)

    def encode(self) -> str:
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).rstrip(b"=").decode()


def read_cursor(text: str) -> StreamCursor:
    """Raises StreamCursorInvalid."""
    try:
        if len(text) > ID_CHARACTERS_MAX:
            raise ValueError
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.msgpack.decode(decoded, type=StreamCursor)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise StreamCursorInvalid("It is not an id that this API gave out.") from None
    if cursor.received_ms < 0 or len(cursor.offsets) > PARTITIONS_MAX or any(offset < 0 for offset in cursor.offsets):
        raise StreamCursorInvalid("It is not an id that this API gave out.")
    return cursor


def event_frame(identifier: str, kind: str, view: dict[str, Any]) -> bytes:
    """`data` may have line ends between its tokens, as it was sent; each of its lines is a line of the frame."""
    lines = b"\ndata: ".join(_LINE_END.split(orjson.dumps(view)))
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (identifier.encode(), kind.encode(), lines)


def with_id(frame: bytes, identifier: str) -> bytes:
    """An event's frame with another id."""
    return b"id: %b" % identifier.encode() + frame[frame.index(b"\n") :]


def retry_line(pause_ms: int) -> bytes:
    """How long a reader waits before it reconnects; readers apply it at once."""
    return b"retry: %d\n" % pause_ms


def cursor_comment(identifier: str) -> bytes:
    """In a quiet time: the id with which a reader that reads comments may reconnect."""
    return b": last-event-id %b\n" % identifier.encode()
