"""What surrounds every request of a surface: its id, the head's rules, errors into answers, metrics, its log line.

It is one function around aiohttp's routing rather than a stack of middlewares, so that 404 and 405, unreadable bodies
and errors in routing pass through it too, and a request pays for one layer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter

from aiohttp import hdrs, web
from prometheus_client import Counter, Histogram

from ingest_gateway.http.addresses import CLIENT_ADDRESS, find_address
from ingest_gateway.http.errors import ErrorKind, Refused, Renderer, kind_of
from ingest_gateway.http.heads import HeadRules
from ingest_gateway.http.limits import HttpLimits
from ingest_gateway.http.request_log import log_request, log_unreadable
from ingest_gateway.metrics import HTTP_REQUEST_SECONDS, HTTP_REQUESTS, HTTP_UNREADABLE
from operations.random_ids import request_id as new_request_id

logger = logging.getLogger("atlas.http")

REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
ANSWER_HEADERS: web.RequestKey[Mapping[str, str]] = web.RequestKey("answer_headers", Mapping)
"""Headers that every answer to the request gets, set before its handler runs."""
X_REQUEST_ID = "X-Request-Id"
SERVER_NAME = "atlas"
CLIENT_LEFT = 499  # for metrics and logs only; the number that nginx made customary
OTHER = "other"
UNREAD_BYTES_MAX = 65_536  # of a body that no handler read: up to here reading is cheaper than reconnecting
KEPT_HEADERS = (hdrs.ALLOW, hdrs.RETRY_AFTER, hdrs.LOCATION)

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Called by the server with each request; answers it in every case."""

    def __init__(self, handle: Handle, surface: str, render: Renderer, limits: HttpLimits) -> None:
        self._handle = handle
        self._surface = surface
        self._render = render
        self._rules = HeadRules(limits)
        self._trusted_proxies = limits.trusted_proxies
        self._counters: dict[tuple[str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        started = perf_counter()
        request_id = new_request_id()
        request[REQUEST_ID] = request_id
        request[CLIENT_ADDRESS] = find_address(request, self._trusted_proxies)
        refused: Refused | None = None
        head_is_good = False
        try:
            self._rules.check(request)
            head_is_good = True
            response = await self._handle(request)
        except Refused as error:
            refused, response = error, self._render(error, request_id)
        except asyncio.CancelledError:
            self._finish(request, request_id, CLIENT_LEFT, None, started)
            raise
        except Exception as error:
            response, refused = self._answer_to(error, request, request_id)
        if not response.prepared:
            headers = response.headers
            headers[X_REQUEST_ID] = request_id
            headers[hdrs.SERVER] = SERVER_NAME
            if (more := request.get(ANSWER_HEADERS)) is not None:
                headers.update(more)
            if not head_is_good or _must_close(request, refused):
                response.force_close()
        self._finish(request, request_id, response.status, refused, started)
        return response

    def count_unreadable(self, reason: str) -> None:
        HTTP_UNREADABLE.labels(self._surface, reason).inc()

    def answer_unreadable(self, status: int, reason: str, peer: str) -> web.Response:
        """The answer to what the parser refused for `reason`; there is no request, only the client's address."""
        request_id = new_request_id()
        response = self._render(Refused(kind_of(status)), request_id)
        response.headers[X_REQUEST_ID] = request_id
        response.headers[hdrs.SERVER] = SERVER_NAME
        log_unreadable(request_id, self._surface, response.status, reason, peer)
        return response

    def _answer_to(
        self, error: Exception, request: web.Request, request_id: str
    ) -> tuple[web.StreamResponse, Refused | None]:
        if isinstance(error, web.HTTPException):
            if error.status < 400:  # a redirect, raised; returning it as it is would warn
                return web.Response(status=error.status, headers=error.headers, body=error.body), None
            headers: dict[str, str] = {name: error.headers[name] for name in KEPT_HEADERS if name in error.headers}
            refused = Refused(kind_of(error.status), headers=headers)
        elif request.transport is None:  # the client left, and that caused the error
            return web.Response(status=CLIENT_LEFT), None
        elif isinstance(error, web.RequestPayloadError):
            refused = Refused(ErrorKind.MALFORMED_REQUEST, "The body could not be read.")
        else:
            facts = {"request_id": request_id, "surface": self._surface, "operation": operation_of(request)}
            logger.error("http.unexpected", exc_info=error, extra={"facts": facts})
            refused = Refused(ErrorKind.INTERNAL)
        return self._render(refused, request_id), refused

    def _finish(
        self, request: web.Request, request_id: str, status: int, refused: Refused | None, started: float
    ) -> None:
        seconds = perf_counter() - started
        operation = operation_of(request)
        self._count(operation, status, seconds)
        log_request(
            request,
            request_id=request_id,
            surface=self._surface,
            operation=operation,
            status=status,
            refused=refused,
            seconds=seconds,
        )

    def _count(self, operation: str, status: int, seconds: float) -> None:
        counter = self._counters.get((operation, status))
        if counter is None:
            counter = HTTP_REQUESTS.labels(self._surface, operation, str(status))
            self._counters[operation, status] = counter
        counter.inc()
        histogram = self._histograms.get(operation)
        if histogram is None:
            histogram = self._histograms[operation] = HTTP_REQUEST_SECONDS.labels(self._surface, operation)
        histogram.observe(seconds)


def operation_of(request: web.Request) -> str:
    """The route's name, for metrics and logs; `other` where no named route was reached."""
    match = request._match_info
    return (match.route.name or OTHER) if match is not None else OTHER


def _must_close(request: web.Request, refused: Refused | None) -> bool:
    """Whether the connection can't be used again: too much of the body, or nobody knows how much, is still to come."""
    body = request.content
    if body.is_eof():
        return False
    if (refused is not None and refused.kind is ErrorKind.REQUEST_TIMEOUT) or body.exception() is not None:
        return True
    length = request.content_length
    return length is None or length > UNREAD_BYTES_MAX or hdrs.EXPECT in request.headers
