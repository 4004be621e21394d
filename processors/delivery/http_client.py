"""One attempt: a signed POST to an endpoint that may answer well, badly, slowly or with hostility.

The time-out is one for all of it: name, connect, TLS, head and body (W8: the library's read time-outs never
fire on a byte a second). Redirects are not followed, cookies not kept, no proxy taken from the environment, nothing
decompressed (W7, W9, W13). Of the body the first KB is kept; a connection whose answer is longer than it pays to read
is closed.

The status line decides. What of the answer could not be read behind it (a header beyond the bounds, a head or a body
that breaks off or is no HTTP) is said beside it, and the connection is closed.

A kept connection that the server has just closed says nothing about the endpoint. When a reused one breaks before any
answer, the POST is made once more on a fresh one, within the same attempt and its time: the server may have seen the
first, which is what at least once means, and both carry the same delivery id. A fresh one that breaks is a failure.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
)
from aiohttp.abc import AbstractResolver
from yarl import URL

from domain.delivery.decide import Answered, Result, TimedOut
from domain.delivery.retry_after import HONOURED
from domain.delivery.signatures import (
    DELIVERY_HEADER,
    SIGNATURE_HEADER,
    SPINE_SIGNATURE_HEADER,
    body_signature,
    standard_signature,
    timestamped_signature,
)
from operations.outgoing import AddressInfo, guarded_socket, open_socket
from processors.delivery.failures import failure_of, unread_of
from processors.delivery.guard import GuardedResolver
from processors.delivery.resolver import Resolver
from processors.delivery.status_lines import EXCHANGE, Exchange, ObservedConnector

EXCERPT_BYTES = 1_024
DRAINED_BYTES_MAX = 16_384  # an answer declared as longer is not read to its end for the connection's sake
READ_BUFFER_BYTES = 4_096
HEADER_BYTES_MAX = 65_536  # of a line of the head; cookies alone may have 4 KB each
HEADERS_MAX = 1_000
KEEP_ALIVE_SECONDS = 15
DNS_CACHE_SECONDS = 10
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": "Atlas/0.1",
}
NO_LIBRARY_TIMEOUT = ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


@dataclass(frozen=True, slots=True)
class Previous:
    """The secret before the newest: what is sent until then is signed with it as well."""

    secret: str
    standard_key: bytes
    until_ms: int


class Style(Enum):
    """In which header the surface's own signature stands, and how it is made (domain/delivery/signatures.py)."""

    EVENTS = "events"
    SPINE = "spine"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and with which keys: prepared once a workflow's state, not once a delivery."""

    url: URL
    secret: str
    standard_key: bytes
    previous: Previous | None = None
    style: Style = Style.EVENTS


@dataclass(frozen=True, slots=True)
class Post:
    """What one attempt sends."""

    delivery_id: str
    attempt: int
    body: bytes
    replay: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpClient:
    """`post` never raises but for cancellation. Make it on the running loop and `close` it."""

    def __init__(
        self, timeout_seconds: float, *, allow_private_targets: bool, tls: ssl.SSLContext | None = None
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._new_socket = open_socket if allow_private_targets else guarded_socket
        self._resolver: AbstractResolver = Resolver() if allow_private_targets else GuardedResolver()
        self._tls = tls
        self._kept = self._session(keep_alive=True)
        self._fresh = self._session(keep_alive=False)

    async def post(self, endpoint: Endpoint, post: Post) -> Result:
        exchange = Exchange()
        EXCHANGE.set(exchange)
        answer: ClientResponse | None = None
        excerpt, unread = bytearray(), None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._answer(endpoint, post, exchange)
                await _read_excerpt(answer, excerpt)
        except TimeoutError as error:
            if answer is None and exchange.line.status is None:
                return TimedOut(self._timeout_seconds)
            unread = unread_of(error)
        except (ClientError, OSError, ValueError, RuntimeError) as error:  # uvloop raises RuntimeError on some connects
            if answer is None and exchange.line.status is None:
                return failure_of(error)
            unread = unread_of(error)
        finally:
            if answer is not None:
                answer.release()
        return _answered(answer, exchange.line.status, bytes(excerpt), unread)

    async def close(self) -> None:
        await self._kept.close()
        await self._fresh.close()
        await self._resolver.close()

    async def _answer(self, endpoint: Endpoint, post: Post, exchange: Exchange) -> ClientResponse:
        """The answer's head. Raises what aiohttp raises."""
        headers = signed_headers(endpoint, post, int(time.time()))
        try:
            return await self._send(self._kept, endpoint.url, post.body, headers)
        except ClientConnectionError as error:
            if exchange.opened or exchange.line.status is not None or isinstance(error, ClientConnectorError):
                raise
            return await self._send(self._fresh, endpoint.url, post.body, headers)

    async def _send(self, session: ClientSession, url: URL, body: bytes, headers: dict[str, str]) -> ClientResponse:
        return await session.post(url, data=body, headers=headers, allow_redirects=False)

    def _session(self, *, keep_alive: bool) -> ClientSession:
        connector = ObservedConnector(
            limit=0,  # the lanes bound what runs
            force_close=not keep_alive,
            keepalive_timeout=KEEP_ALIVE_SECONDS if keep_alive else None,
            ttl_dns_cache=DNS_CACHE_SECONDS,
            resolver=self._resolver,
            socket_factory=self._socket,
            ssl=True if self._tls is None else self._tls,
        )
        return ClientSession(
            connector=connector,
            timeout=NO_LIBRARY_TIMEOUT,
            headers=HEADERS,
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=READ_BUFFER_BYTES,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADERS_MAX,
        )

    def _socket(self, info: AddressInfo) -> socket.socket:
        exchange = EXCHANGE.get(None)
        if exchange is not None:
            exchange.opened += 1
        return self._new_socket(info)


def signed_headers(endpoint: Endpoint, post: Post, now_seconds: int) -> dict[str, str]:
    """All signatures are over the same bytes and the same second; the newest secret's come first."""
    secrets, keys = [endpoint.secret], [endpoint.standard_key]
    previous = endpoint.previous
    if previous is not None and now_seconds * 1_000 < previous.until_ms:
        secrets.append(previous.secret)
        keys.append(previous.standard_key)
    standard = (standard_signature(key, post.delivery_id, now_seconds, post.body) for key in keys)
    headers = {
        **_surface_signature(endpoint, secrets, now_seconds, post.body),
        **post.headers,
        "webhook-id": post.delivery_id,
        "webhook-timestamp": str(now_seconds),
        "webhook-signature": " ".join(standard),
        DELIVERY_HEADER: post.delivery_id,
        "X-Atlas-Attempt": str(post.attempt),
    }
    if post.replay:
        headers["X-Atlas-Replay"] = str(post.replay)
    return headers


def _surface_signature(endpoint: Endpoint, secrets: list[str], now_seconds: int, body: bytes) -> dict[str, str]:
    """The documents of spine and work have one signature a delivery: it is the newest secret's."""
    match endpoint.style:
        case Style.SPINE:
            return {SPINE_SIGNATURE_HEADER: body_signature(secrets[0], body)}
        case Style.WORK:
            return {SIGNATURE_HEADER: body_signature(secrets[0], body)}
        case Style.EVENTS:
            return {SIGNATURE_HEADER: timestamped_signature(secrets, now_seconds, body)}


def _answered(answer: ClientResponse | None, status: int | None, excerpt: bytes, unread: str | None) -> Answered:
    """`status`: the status line's, where the rest of the head could not be read."""
    if answer is None:
        assert status is not None, "without a status line there is no answer"
        return Answered(status, unread=unread)
    retry_after = answer.headers.get("Retry-After") if answer.status in HONOURED else None
    return Answered(answer.status, excerpt, retry_after, unread)


async def _read_excerpt(answer: ClientResponse, excerpt: bytearray) -> None:
    """Fills `excerpt` with the body's first KB. The head has decided already, so whoever calls may stop or fail here.

    A body declared as short is read to its end, so that the connection can be used again; else `release` closes it.
    """
    length = answer.content_length
    to_read = DRAINED_BYTES_MAX if length is not None and length <= DRAINED_BYTES_MAX else EXCERPT_BYTES
    while to_read > 0 and (chunk := await answer.content.read(to_read)):
        to_read -= len(chunk)
        excerpt += chunk[: EXCERPT_BYTES - len(excerpt)]
