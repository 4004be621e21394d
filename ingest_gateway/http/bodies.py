"""Reading a request's body: bounded in size, in time and in what it unpacks to. Handlers read bodies
only with this.

`request.read()` knows none of the bounds, and would give a compressed body as it came. Size bounds count the body as
unpacked, and as it came too. Time bounds count only the time spent waiting for the client.
"""

import asyncio
import re
from collections.abc import AsyncIterator

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.http.unpacking import Unpacker, unpacker_for

BODY_SECONDS = 30.0
UTF8_PARAMETER = r';[ \t]*charset=(?:utf-8|"utf-8")[ \t]*;?[ \t]*'
CONTENT_TYPE = re.compile(rf"([a-z0-9+.-]+/[a-z0-9+.-]+)[ \t]*(?:{UTF8_PARAMETER})?", re.IGNORECASE)


def content_type(request: web.BaseRequest, *allowed: str) -> str:
    """Which of the allowed types (lower case) the body has. Missing, other, or in a charset other than UTF-8: 415."""
    declared = request.headers.get(hdrs.CONTENT_TYPE)
    if declared in allowed:
        return declared
    match = CONTENT_TYPE.fullmatch(declared or "")
    if match is None or match[1].lower() not in allowed:
        raise Refused(ErrorKind.UNSUPPORTED_MEDIA_TYPE, f"The content type must be {' or '.join(allowed)} in UTF-8.")
    return match[1].lower()


async def read_body(request: web.BaseRequest, limit_bytes: int, *, deadline_seconds: float = BODY_SECONDS) -> bytes:
    """The whole body, unpacked. Refused: too large (413), too slow (408), broken or cut short (400), coding (415)."""
    stream = request.content
    if hdrs.CONTENT_ENCODING not in request.headers and stream.is_eof() and stream.exception() is None:
        body = stream.read_nowait()  # it came with the head, as most do
        if len(body) > limit_bytes:
            raise Refused(ErrorKind.BODY_TOO_LARGE)
        return body
    whole = bytearray()
    async for chunk in _unpacked(request, limit_bytes, received(request, limit_bytes, deadline_seconds)):
        whole += chunk
    return bytes(whole)


async def read_chunks(
    request: web.BaseRequest, limit_bytes: int, *, deadline_seconds: float = BODY_SECONDS
) -> AsyncIterator[bytes]:
    """The body in pieces as they come; refusals as `read_body`'s, after the pieces before.

    A compressed body is read to its end and checked first, so that no piece of a broken one is given out. Only the
    compressed bytes are held meanwhile, and they are unpacked twice.
    """
    if unpacker_for(request.headers.get(hdrs.CONTENT_ENCODING)) is None:
        async for chunk in _unpacked(request, limit_bytes, received(request, limit_bytes, deadline_seconds)):
            yield chunk
        return
    _refuse_declared_above(limit_bytes, request)
    came = [chunk async for chunk in received(request, limit_bytes, deadline_seconds)]
    async for _piece in _unpacked(request, limit_bytes, _each(came)):
        pass
    async for piece in _unpacked(request, limit_bytes, _each(came)):
        yield piece


async def _unpacked(request: web.BaseRequest, limit_bytes: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    unpacker = unpacker_for(request.headers.get(hdrs.CONTENT_ENCODING))
    _refuse_declared_above(limit_bytes, request)
    left_bytes = limit_bytes
    async for chunk in chunks:
        for piece in (chunk,) if unpacker is None else unpacker.unpack(chunk):
            left_bytes -= len(piece)
            if left_bytes < 0:
                raise Refused(ErrorKind.BODY_TOO_LARGE)
            if piece:
                yield piece
            if unpacker is not None:
                await asyncio.sleep(0)  # a few bytes may unpack to many: let the loop serve other requests
    _end(unpacker)


async def _each(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _refuse_declared_above(limit_bytes: int, request: web.BaseRequest) -> None:
    if (request.content_length or 0) > limit_bytes:
        raise Refused(ErrorKind.BODY_TOO_LARGE)


async def received(request: web.BaseRequest, limit_bytes: int, deadline_seconds: float) -> AsyncIterator[bytes]:
    """The body as it comes, not unpacked, with one deadline for all the waiting; refusals as `read_body`'s."""
    stream = request.content
    loop = asyncio.get_running_loop()
    left_seconds, left_bytes = deadline_seconds, limit_bytes
    await _ask_for_the_body(request)
    while True:
        waiting_since = loop.time()
        try:
            async with asyncio.timeout(left_seconds):
                chunk = await stream.readany()
        except TimeoutError:
            raise Refused(ErrorKind.REQUEST_TIMEOUT) from None
        except web.RequestPayloadError:
            raise Refused(ErrorKind.MALFORMED_REQUEST, "The body could not be read.") from None
        left_seconds -= loop.time() - waiting_since
        left_bytes -= len(chunk)
        if not chunk:
            return
        if left_bytes < 0:
            raise Refused(ErrorKind.BODY_TOO_LARGE)
        yield chunk


async def _ask_for_the_body(request: web.BaseRequest) -> None:
    """Says `100 Continue` to a client that waits for it."""
    if hdrs.EXPECT in request.headers and request.version == HttpVersion11 and not request.content.total_bytes:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


def _end(unpacker: Unpacker | None) -> None:
    if unpacker is not None and not unpacker.is_complete:
        raise Refused(ErrorKind.MALFORMED_REQUEST, "The compressed body is cut short.")
