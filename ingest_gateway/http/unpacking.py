"""Compressed bodies: gzip and deflate (zlib format), unpacked in pieces of bounded size. Does no I/O."""

import zlib
from collections.abc import Iterator

from ingest_gateway.http.faults import FaultKind, Refused

PIECE_BYTES_MAX = 65_536
_WINDOW_BITS = {"gzip": 31, "deflate": 15}
IDENTITY = "identity"


class Unpacker:
    """One compressed stream. Anything after its end is a fault, so that no second member can hide behind the first."""

    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.decompressobj(window_bits)

    @property
    def is_complete(self) -> bool:
        return self._stream.eof

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk unpacks to, a piece at a time; each is made only when it is asked for."""
        while True:
            try:
                piece = self._stream.decompress(chunk, PIECE_BYTES_MAX)
            except zlib.error:
                raise Refused(FaultKind.MALFORMED_REQUEST, "The compressed body is broken.") from None
            if self._stream.unused_data:
                raise Refused(FaultKind.MALFORMED_REQUEST, "Bytes follow the end of the compressed body.")
            if piece:
                yield piece
            chunk = self._stream.unconsumed_tail
            if not chunk and len(piece) < PIECE_BYTES_MAX:
                return


def unpacker_for(content_encoding: str | None) -> Unpacker | None:
    """None for a body that is sent as it is. Unknown codings, and lists of them, are refused with 415."""
    if content_encoding is None:
        return None
    coding = content_encoding.lower()
    if coding == IDENTITY:
        return None
    window_bits = _WINDOW_BITS.get(coding)
    if window_bits is None:
        known = ", ".join((*_WINDOW_BITS, IDENTITY))
        raise Refused(
            FaultKind.UNSUPPORTED_MEDIA_TYPE,
            f"The content encoding must be one of {known}.",
            headers={"Accept-Encoding": known},
        )
    return Unpacker(window_bits)
