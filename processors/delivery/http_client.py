"""One attempt: a signed POST to an endpoint that may answer well, badly, slowly or with malice.

One time-out covers everything: name, connect, TLS, head and body (W8: the library's read time-outs never fire on one
byte a second). Redirects are not followed, cookies are not kept, no proxy is taken from the environment, nothing is
decompressed (W7, W9, W13). The first KB of the body is kept. A connection whose answer is too long to be worth reading
is closed.

The status line decides. If the rest of the answer can't be read (a header is too long, the head or the body breaks off
or is not HTTP), the result says so, and the connection is closed.

A kept connection that the server has just closed says nothing about the endpoint. If a reused connection breaks before
any answer, the POST is sent again on a fresh one, within the same attempt and its time. The server may have seen the
first POST; that is what "at least once" means, and both carry the same delivery id. A fresh connection that breaks is a
failure.
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

from domain.delivery.decide import Answered, AttemptResult, TimedOut
from domain.delivery.retry_schedule import RETRY_AFTER_STATUSES
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
from processors.delivery.resolver import GuardedResolver, Resolver
from processors.delivery.status_lines import OBSERVED, ObservedAttempt, ObservedConnector

EXCERPT_BYTES = 1_024
DRAINED_BYTES_MAX = 16_384  # an answer declared as longer is not read to its end for the connection's sake
READ_BUFFER_BYTES = 4_096
HEADER_BYTES_MAX = 65_536  # of a line of the head; each cookie may have 4 KB
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
class PreviousSecret:
    """The secret before the newest one. What is sent until `until_ms` is signed with it as well."""

    secret: str
    standard_key: bytes
    until_ms: int


class SignatureStyle(Enum):
    """The header with the surface's own signature, and how it is made (domain/delivery/signatures.py)."""

    EVENTS = "events"
    SPINE = "spine"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """A URL and the keys that sign for it; prepared once for each state of a workflow, not for each delivery."""

    url: URL
    secret: str
    standard_key: bytes
    previous: PreviousSecret | None = None
    style: SignatureStyle = SignatureStyle.EVENTS


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

    async def post(self, endpoint: HttpEndpoint, post: Post) -> AttemptResult:
        observed = ObservedAttempt()
        OBSERVED.set(observed)
        answer: ClientResponse | None = None
        excerpt, unread = bytearray(), None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._answer(endpoint, post, observed)
                await _read_excerpt(answer, excerpt)
        except TimeoutError as error:
            if answer is None and observed.line.status is None:
                return TimedOut(self._timeout_seconds)
            unread = unread_of(error)
        except (ClientError, OSError, ValueError, RuntimeError) as error:  # uvloop raises RuntimeError on some connects
            if answer is None and observed.line.status is None:
                return failure_of(error)
            unread = unread_of(error)
        finally:
            if answer is not None:
                answer.release()
        return _answered(answer, observed.line.status, bytes(excerpt), unread)

    async def close(self) -> None:
        await self._kept.close()
        await self._fresh.close()
        await self._resolver.close()

    async def _answer(self, endpoint: HttpEndpoint, post: Post, observed: ObservedAttempt) -> ClientResponse:
        """Returns when the answer's head has arrived. Raises what aiohttp raises."""
        headers = signed_headers(endpoint, post, int(time.time()))
        try:
            return await self._send(self._kept, endpoint.url, post.body, headers)
        except ClientConnectionError as error:
            if observed.opened or observed.line.status is not None or isinstance(error, ClientConnectorError):
                raise
            return await self._send(self._fresh, endpoint.url, post.body, headers)

    async def _send(self, session: ClientSession, url: URL, body: bytes, headers: dict[str, str]) -> ClientResponse:
        return await session.post(url, data=body, headers=headers, allow_redirects=False)

    def _session(self, *, keep_alive: bool) -> ClientSession:
        connector = ObservedConnector(
            limit=0,  # the endpoint queues limit what runs
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
        observed = OBSERVED.get(None)
        if observed is not None:
            observed.opened += 1
        return self._new_socket(info)


def signed_headers(endpoint: HttpEndpoint, post: Post, now_seconds: int) -> dict[str, str]:
    """All signatures cover the same bytes and the same second; those of the newest secret come first."""
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


def _surface_signature(endpoint: HttpEndpoint, secrets: list[str], now_seconds: int, body: bytes) -> dict[str, str]:
    """Spine and work document one signature for a delivery: that of the newest secret."""
    match endpoint.style:
        case SignatureStyle.SPINE:
            return {SPINE_SIGNATURE_HEADER: body_signature(secrets[0], body)}
        case SignatureStyle.WORK:
            return {SIGNATURE_HEADER: body_signature(secrets[0], body)}
        case SignatureStyle.EVENTS:
            return {SIGNATURE_HEADER: timestamped_signature(secrets, now_seconds, body)}


def _answered(answer: ClientResponse | None, status: int | None, excerpt: bytes, unread: str | None) -> Answered:
    """`status`: from the status line, if the rest of the head could not be read."""
    if answer is None:
        assert status is not None, "without a status line there is no answer"
        return Answered(status, unread=unread)
    retry_after = answer.headers.get("Retry-After") if answer.status in RETRY_AFTER_STATUSES else None
    return Answered(answer.status, excerpt, retry_after, unread)


async def _read_excerpt(answer: ClientResponse, excerpt: bytearray) -> None:
    """Fills `excerpt` with the first KB of the body. The head has decided already, so the caller may stop here.

    A body that is declared as short is read to its end, so that the connection can be used again; otherwise `release`
    closes the connection.
    """
    length = answer.content_length
    to_read = DRAINED_BYTES_MAX if length is not None and length <= DRAINED_BYTES_MAX else EXCERPT_BYTES
    while to_read > 0 and (chunk := await answer.content.read(to_read)):
        to_read -= len(chunk)
        excerpt += chunk[: EXCERPT_BYTES - len(excerpt)]
