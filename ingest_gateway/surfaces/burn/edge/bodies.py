"""A request's body for the provider: held in memory up to the size that is inspected, streamed beyond it.

A body with a content coding, or longer than `INSPECTED_BYTES_MAX`, is forwarded unchanged and not inspected. Its
fingerprint covers the bytes that were held.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple

from aiohttp import hdrs, web

from ingest_gateway.http.bodies import received
from ingest_gateway.http.errors import ErrorKind, Refused

INSPECTED_BYTES_MAX = 2 * 1024 * 1024
BODY_BYTES_MAX = 34 * 1024 * 1024
PIECE_BYTES = 64 * 1024
BODY_SECONDS = 60.0
PARSED_HERE_BYTES = 128 * 1024
"""A longer body is parsed in a thread, so that other requests need not wait."""


class Held(NamedTuple):
    """`rest`: the bytes after `body`, if there are more. `coded`: the body has a content coding."""

    body: bytes
    coded: bool = False
    rest: AsyncIterator[bytes] | None = None


async def hold(request: web.BaseRequest, *, whole: bool = False) -> Held:
    """`whole`: reads all of it, of any length. Raises Refused: too large (413), too slow (408), cut short (400)."""
    coded = _is_coded(request)
    stream = request.content
    if stream.is_eof() and stream.exception() is None and hdrs.EXPECT not in request.headers:
        return Held(stream.read_nowait(), coded)  # most bodies arrive with the head
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise Refused(ErrorKind.BODY_TOO_LARGE)
    chunks = received(request, BODY_BYTES_MAX, BODY_SECONDS)
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        if len(held) > INSPECTED_BYTES_MAX and not whole:
            return Held(bytes(held), coded, chunks)
    return Held(bytes(held), coded)


def _is_coded(request: web.BaseRequest) -> bool:
    """Whether any Content-Encoding header says so: providers read them as one list (RFC 9110, 5.3)."""
    codings = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, ())).lower().split(",")
    return any(coding.strip() not in ("", "identity") for coding in codings)


async def in_pieces(body: bytes, rest: AsyncIterator[bytes] | None) -> AsyncIterator[bytes]:
    """A long body: the held part, then what still arrives; in pieces, so that other requests run in between."""
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]
    if rest is not None:
        async for chunk in rest:
            yield chunk
