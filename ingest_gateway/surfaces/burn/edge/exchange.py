"""Makes one call to the provider and forwards the answer to the caller, piece by piece and unchanged, except for usage
that only the proxy asked for (unasked_usage.py). If the provider can't be reached or is silent, the proxy answers in
the provider's error form.
"""

import logging
from http import HTTPStatus

import aiohttp
from aiohttp import hdrs, web

from ingest_gateway.http.errors import Refused
from ingest_gateway.http.guard import SERVER_NAME
from ingest_gateway.surfaces.burn.edge import heads, shapes
from ingest_gateway.surfaces.burn.edge.bodies import Held, in_pieces
from ingest_gateway.surfaces.burn.edge.calls import BAD_GATEWAY, GATEWAY_TIMEOUT, ProxiedCall
from ingest_gateway.surfaces.burn.edge.inspection import Inspected
from ingest_gateway.surfaces.burn.edge.providers import Provider
from ingest_gateway.surfaces.burn.edge.shapes import Shaped
from ingest_gateway.surfaces.burn.edge.unasked_usage import REFUSALS, Refusing, UsageChunkFilter, refuses_to_tell
from ingest_gateway.surfaces.burn.edge.upstream import url_of
from operations.logs import event

log = logging.getLogger("atlas.edge")
IN_ONE_PIECE_BYTES = 64 * 1024
_WITHOUT_BODY = frozenset({hdrs.METH_GET, hdrs.METH_DELETE})


class Exchange:
    """`make` makes one call. Remembers which providers refuse to be asked for usage."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._refusing = Refusing()

    def willing(self, provider: Provider, asked: Inspected) -> Inspected:
        """The caller's own body if the provider is known to refuse the member that the proxy adds."""
        if asked.as_sent is not None and self._refusing.has(provider.name, asked.model):
            return _as_sent(asked)
        return asked

    async def make(self, request: web.Request, call: ProxiedCall, held: Held) -> web.StreamResponse:
        begun: list[web.StreamResponse] = []
        try:
            answer = await self._try(request, call, held, begun)
            if answer is None:
                call.asked = _as_sent(call.asked)
                answer = await self._try(request, call, held, begun)
                assert answer is not None, "it is asked for nothing any more"
                if call.status < HTTPStatus.BAD_REQUEST:  # else the member was only named, perhaps by the caller itself
                    self._refusing.add(call.provider.name, call.asked.model)
            return answer
        except TimeoutError:
            return _no_answer(request, call, begun, GATEWAY_TIMEOUT, "upstream_timeout", "did not answer in time")
        except (aiohttp.ClientError, ValueError) as error:
            if isinstance(error.__cause__, Refused):  # the caller's own body broke off
                raise error.__cause__ from None
            event(log, "edge.upstream_failed", logging.WARNING, provider=call.provider.name, error=type(error).__name__)
            return _no_answer(request, call, begun, BAD_GATEWAY, "upstream_unreachable", "could not be reached")

    async def _try(
        self, request: web.Request, call: ProxiedCall, held: Held, begun: list[web.StreamResponse]
    ) -> web.StreamResponse | None:
        """None if the provider refuses the member that the proxy added; then nothing was sent to the caller yet."""
        headers = call.headers.copy()
        length = _length_of_pieces(request, call.asked, held)
        if length is not None and length >= 0:
            headers[hdrs.CONTENT_LENGTH] = str(length)
        body = call.asked.body if length is None else in_pieces(call.asked.body, held.rest)
        async with self._session.request(
            request.method,
            url_of(call.target.url, request.rel_url.raw_query_string),
            data=None if not body and request.method in _WITHOUT_BODY else body,
            headers=headers,
            allow_redirects=False,
        ) as upstream:
            try:
                first = b""
                if call.asked.as_sent is not None and upstream.status in REFUSALS:
                    first = await _first_of(upstream)
                    if refuses_to_tell(upstream.status, first):
                        return None
                return await _answer(request, call, upstream, begun, first)
            except BaseException:
                upstream.close()
                raise


async def _answer(
    request: web.Request,
    call: ProxiedCall,
    upstream: aiohttp.ClientResponse,
    begun: list[web.StreamResponse],
    first: bytes,
) -> web.StreamResponse:
    """Forwards the answer as it arrives; a short one in one piece. `first`: what was read of the body already."""
    headers = heads.answer_headers(upstream.headers.items(), upstream.headers.getall(hdrs.CONNECTION, ()))
    headers["AtlasBurn-Request-Id"] = call.id
    headers.setdefault(hdrs.SERVER, SERVER_NAME)
    is_coded = hdrs.CONTENT_ENCODING in headers
    call.begin_answer(upstream.status, upstream.content_type, is_coded)
    unasked = None
    if call.asked.as_sent is not None and call.is_stream(upstream.content_type) and not is_coded:
        unasked = UsageChunkFilter()
    length = upstream.content_length
    if length is not None and length <= IN_ONE_PIECE_BYTES:
        body = first + await upstream.read()
        passed = body if unasked is None else unasked.feed(body) + unasked.rest()
        whole = web.Response(status=upstream.status, reason=upstream.reason, headers=headers, body=passed)
        begun.append(whole)
        await whole.prepare(request)
        await whole.write_eof()
        call.feed(body)
        return whole
    response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=headers)
    response.content_length = length if unasked is None else None
    begun.append(response)
    await response.prepare(request)
    if first:
        await response.write(first)
    await _pass_on(call, upstream, response, unasked)
    await response.write_eof()
    return response


async def _pass_on(
    call: ProxiedCall,
    upstream: aiohttp.ClientResponse,
    response: web.StreamResponse,
    unasked: UsageChunkFilter | None,
) -> None:
    """Reads each piece after it was forwarded."""
    async for piece in upstream.content.iter_any():
        passed = piece if unasked is None else unasked.feed(piece)
        if passed:
            await response.write(passed)
        call.feed(piece)
    if unasked is not None and (rest := unasked.rest()):
        await response.write(rest)


async def _first_of(upstream: aiohttp.ClientResponse) -> bytes:
    """Reads as much of an error's short answer as is inspected."""
    first = bytearray()
    async for piece in upstream.content.iter_any():
        first += piece
        if len(first) > IN_ONE_PIECE_BYTES:
            break
    return bytes(first)


def _no_answer(
    request: web.Request,
    call: ProxiedCall,
    begun: list[web.StreamResponse],
    status: int,
    code: str,
    what: str,
) -> web.StreamResponse:
    """Cuts off an answer that has begun, so that the client doesn't take it for complete."""
    if begun:
        if request.transport is not None:
            request.transport.close()
        return begun[0]
    call.status = status
    message = f"{call.provider.name} {what}; nothing is known of what became of the call."
    return own_answer(shapes.failed(call.provider.dialect, status, code, message, call.id))


def _as_sent(asked: Inspected) -> Inspected:
    assert asked.as_sent is not None
    return asked._replace(body=asked.as_sent, as_sent=None)


def _length_of_pieces(request: web.Request, asked: Inspected, held: Held) -> int | None:
    """The length of a body that is sent in pieces, -1 if unknown; None: it is sent in one piece."""
    if held.rest is not None:
        return -1 if request.content_length is None else request.content_length
    return len(asked.body) if len(asked.body) > IN_ONE_PIECE_BYTES else None


def own_answer(shaped: Shaped) -> web.Response:
    """An answer of the proxy itself."""
    headers = dict(shaped.headers)
    return web.Response(status=shaped.status, body=shaped.body, headers=headers, content_type="application/json")
