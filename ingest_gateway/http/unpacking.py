"""Compressed bodies: gzip and deflate, unpacked in pieces of bounded size.

A gzip body is one member or several, one behind the other (RFC 1952, 2.2): tools that append to a file and proxies that
join parts make such bodies. `deflate` is the zlib format; some clients send it without zlib's wrapper, as RFC 9110,
8.4.1.2 notes, and are understood: the first two bytes show which it is, since no encoder begins raw deflate with bytes
that pass as a zlib header. Any other bytes after the end are an error, zeros too.
"""

import zlib
from collections.abc import Iterator

from ingest_gateway.http.errors import ErrorKind, Refused

PIECE_BYTES_MAX = 65_536
MEMBERS_MAX = 20_000
"""Of one gzip body: twice the events that a batch may have. An empty member is 20 bytes, and costs a new decoder."""
GZIP, DEFLATE, IDENTITY = "gzip", "deflate", "identity"
CODINGS = (GZIP, DEFLATE, IDENTITY)
_ALIASES = {"x-gzip": GZIP}  # RFC 9110, 8.4.1.3
_GZIP_WINDOW, _ZLIB_WINDOW, _RAW_WINDOW = 31, 15, -15
BROKEN = "The compressed body is broken."


class Unpacker:
    """One compressed body."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding == GZIP
        self._stream = zlib.decompressobj(_GZIP_WINDOW) if self._is_gzip else None
        self._members = 1
        self._start = b""  # of a deflate body whose form is not known yet

    @property
    def is_complete(self) -> bool:
        return self._stream is not None and self._stream.eof

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk unpacks to, a piece at a time; each is made only when it is asked for. A piece is empty where
        a member ended, so that the loop can serve other requests.
        """
        if self._stream is None:
            self._start += chunk
            if len(self._start) < 2:
                return
            self._stream = zlib.decompressobj(_ZLIB_WINDOW if _is_zlib(self._start) else _RAW_WINDOW)
            chunk = self._start
        while chunk:
            if self._stream.eof:
                self._begin_member()
            yield from self._unpack_member(chunk)
            chunk = self._stream.unused_data

    def _unpack_member(self, chunk: bytes) -> Iterator[bytes]:
        assert self._stream is not None
        while True:
            try:
                piece = self._stream.decompress(chunk, PIECE_BYTES_MAX)
            except zlib.error:
                raise _broken(BROKEN) from None
            if piece or self._stream.eof:
                yield piece
            chunk = self._stream.unconsumed_tail
            if self._stream.eof or (not chunk and len(piece) < PIECE_BYTES_MAX):
                return

    def _begin_member(self) -> None:
        if not self._is_gzip:
            raise _broken("Bytes follow the end of the compressed body.")
        self._members += 1
        if self._members > MEMBERS_MAX:
            raise _broken(f"The compressed body has more than {MEMBERS_MAX} gzip members.")
        self._stream = zlib.decompressobj(_GZIP_WINDOW)


def unpacker_for(content_encoding: str | None) -> Unpacker | None:
    """None for a body that is sent as it is. Unknown codings, and lists of them, are refused with 415."""
    if content_encoding is None:
        return None
    coding = content_encoding.lower()
    coding = _ALIASES.get(coding, coding)
    if coding == IDENTITY:
        return None
    if coding not in CODINGS:
        known = ", ".join(CODINGS)
        raise Refused(
            ErrorKind.UNSUPPORTED_MEDIA_TYPE,
            f"The content encoding must be one of {known}.",
            headers={"Accept-Encoding": known},
        )
    return Unpacker(coding)


def _is_zlib(start: bytes) -> bool:
    """RFC 1950, 2.2: method 8, and a header that is a multiple of 31."""
    return start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0


def _broken(message: str) -> Refused:
    return Refused(ErrorKind.MALFORMED_REQUEST, message)
