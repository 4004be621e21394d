"""One client connection: aiohttp's protocol with our deadlines (operations/http_deadlines.py), and with the limits and
answers that it does not have.

- A head that is not complete in time gets 408; a connection that sends nothing is closed without an answer.
- Chunk extensions and trailers are bounded: no handler ever sees them, so without a bound they could be sent for ever.
- What the parser cannot read is answered in the surface's own format, once, and counted; nothing of it is quoted or
  logged with a traceback. A body that breaks off this way fails the handler that reads it, which otherwise would wait.

`bodies` sets the deadline of a body. This class reaches into `RequestHandler` (aiohttp's `web_protocol.py`), as
tests/contract/http would notice after an upgrade.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from aiohttp import http_exceptions, streams, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestPayloadError, _ErrInfo
from aiohttp.web_server import Server

from ingest_gateway.http.guard import Guard
from ingest_gateway.http.limits import HttpLimits
from operations.http_deadlines import TimedConnection

logger = logging.getLogger("atlas.http")

HEAD_COMES_SECONDS = 1.0  # a connection without a whole head for longer counts as idle when the process stops
HEAD_TIMEOUT, CHUNK_OVERHEAD = "head_timeout", "chunk_overhead"
_REASONS = (
    (http_exceptions.BadHttpMethod, "method"),
    (http_exceptions.BadStatusLine, "version"),
    (http_exceptions.LineTooLong, "line_too_long"),
    (http_exceptions.InvalidHeader, "header"),
    (http_exceptions.InvalidURLError, "target"),
    (http_exceptions.TransferEncodingError, "framing"),
    (http_exceptions.BadHttpMessage, "message"),
)
_BODY_BYTE_COST_MAX = 9  # one byte in a chunk of its own costs six: size, two line ends, itself; the rest is margin


class LimitExceeded(Exception):
    """What we refuse and the parser does not. `reason`: a label of the metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Connection(TimedConnection):
    __slots__ = (
        "_body",
        "_deaf",
        "_gone",
        "_guard",
        "_limits",
        "_message_bytes",
        "_on_lost",
        "_watching_chunks",
    )

    _messages: deque[Any]

    def __init__(self, server: Server, guard: Guard, limits: HttpLimits, **settings: Any) -> None:
        super().__init__(server, limits.deadlines, **settings)
        self._guard = guard
        self._limits = limits
        self._deaf = False  # nothing more is taken in
        self._gone: asyncio.Future[None] | None = None  # awaited by a last answer: the client has hung up
        self._body: streams.StreamReader = streams.EMPTY_PAYLOAD  # of the newest message, complete or coming
        self._message_bytes = 0  # taken in for the message that is coming
        self._watching_chunks = False
        self._on_lost: Callable[[], object] | None = None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        parsed_before = self._request_count
        was_in_body = not self._body.is_eof()
        super(TimedConnection, self).data_received(data)
        parsed = self._request_count - parsed_before
        if parsed:
            self._on_messages(parsed, len(data))
        elif was_in_body:
            self._on_body_bytes(len(data))
        elif data and not self._upgraded and self._payload_parser is None:
            self._on_head_bytes(len(data))

    def _on_messages(self, parsed: int, received_bytes: int) -> None:
        message, body = self._messages[-1]
        if isinstance(message, _ErrInfo):
            self._deaf = True
            if not self._body.is_eof():  # the error is in this body: its reader must not wait for the rest
                self._body.set_exception(RequestPayloadError("The body's framing is broken."))
            return
        self._body = body
        self._head_since = None
        self._watching_chunks = message.chunked
        if message.chunked:
            alone = parsed == 1
            self._message_bytes = self._message_bytes + received_bytes - _head_bytes(message) if alone else 0
            self._check_chunk_overhead()
        else:
            self._message_bytes = 0

    def _on_body_bytes(self, received_bytes: int) -> None:
        if self._watching_chunks:
            self._message_bytes += received_bytes
            self._check_chunk_overhead()

    def _on_head_bytes(self, received_bytes: int) -> None:
        if self._head_since is None:
            self._head_since = self._loop.time()
            self._message_bytes = 0
        self._message_bytes += received_bytes

    def _check_chunk_overhead(self) -> None:
        if self._reading_paused:  # bytes wait before the parser, so the two counts can't be compared
            return
        allowed = self._limits.chunk_overhead_bytes_max + _BODY_BYTE_COST_MAX * self._body.total_bytes
        if self._message_bytes > allowed:
            if self._body.is_eof() and self._messages and self._messages[-1][1] is self._body:
                self._messages.pop()
            self._refuse(400, CHUNK_OVERHEAD)

    def _refuse(self, status: int, reason: str) -> None:
        """Takes nothing more in, and answers instead of what cannot be completed."""
        self._deaf = True
        error = LimitExceeded(reason)
        if not self._body.is_eof():
            self._guard.count_unreadable(reason)
            self._body.set_exception(RequestPayloadError(reason), error)
            return
        self._messages.append((_ErrInfo(status=status, exc=error, message=reason), streams.EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def is_idle(self, now: float) -> bool:
        """No request is coming or under way. A connection that was just opened counts as busy for a moment."""
        waits = self._waiter is not None and not self._waiter.done() and not self._messages
        return waits and (self._head_since is None or now - self._head_since > HEAD_COMES_SECONDS)

    def on_head_overdue(self) -> None:
        if self._deaf:
            return
        if self._message_bytes:
            self._refuse(408, HEAD_TIMEOUT)
        else:
            self.force_close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """After a last answer to a client that may still be sending, waits a little for it to hang up. Closing at once
        would reset the connection, and the client would lose the answer."""
        answered = await super().finish_response(request, resp, start_time)
        transport = self.transport
        if self._deaf and transport is not None and not transport.is_closing():
            self._gone = self._loop.create_future()
            transport.write_eof()
            await asyncio.wait((self._gone,), timeout=self._lingering_time)
        return answered

    def eof_received(self) -> None:
        self._hang_up()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._hang_up()
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()

    def when_lost(self, call: Callable[[], object] | None) -> None:
        self._on_lost = call

    def _hang_up(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what never became a request. The message quotes the offending bytes, so it is not sent."""
        reason = reason_of(exc)
        if status >= 500:
            logger.error("the guard failed", exc_info=exc)
        else:
            self._guard.count_unreadable(reason)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        response = self._guard.answer_unreadable(status, reason, request.remote or "")
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A client that breaks its connection, or its body while no handler reads it, is no error of ours."""
        if not isinstance(kw.get("exc_info"), ConnectionError | RequestPayloadError):
            super().log_exception(*args, **kw)


def when_client_leaves(request: web.BaseRequest, call: Callable[[], object] | None) -> None:
    """Calls `call` once when the request's client is gone; None takes that back. It is for a request whose result is of
    no use without its client, such as a proxied one; other requests are finished without their client.
    """
    cast(Connection, request.protocol).when_lost(call)


def reason_of(error: BaseException | None) -> str:
    """The metric's label for what the parser, or this module, found wrong."""
    if isinstance(error, LimitExceeded):
        return error.reason
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "other")


def _head_bytes(message: RawRequestMessage) -> int:
    """About the bytes that the head took: exact but for white space around the values."""
    fields = sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
    return len(message.method) + len(message.path) + len(" HTTP/1.1\r\n") + 1 + fields + 2
