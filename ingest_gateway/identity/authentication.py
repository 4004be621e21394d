"""From `Authorization: Bearer <token>` to a principal.

A token is looked up by its keyed hash in the view of `control`; the raw token is compared with nothing. Whatever is
wrong with it, the answer is the same (RELIABILITY A1, A2). A revocation holds as soon as the view has it.
"""

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache

from aiohttp import hdrs, web

from ingest_gateway.http.faults import FaultKind, Refused
from ingest_gateway.http.request_log import note
from ingest_gateway.identity.principals import Principal, principal_of
from operations.control_reader import ControlReader
from schemas.entities import Key
from schemas.tokens import TOKEN, TokenHasher

HASHES_CACHED_MAX = 10_000
CATCH_UPS_APART_SECONDS = 0.2

_BEARER = re.compile(rf"(?i:bearer) +({TOKEN.pattern})", re.ASCII)


class Authenticator:
    """Called with a request it gives the principal or raises Refused; `await_news_of` is for keys it does not know."""

    def __init__(self, control: ControlReader, hasher: TokenHasher) -> None:
        self._view = control.view
        self._hash = lru_cache(HASHES_CACHED_MAX)(hasher.hash)
        self._principals: dict[str, tuple[Key, Principal]] = {}
        self._catch_up = SharedCatchUp(control.catch_up)

    def __call__(self, request: web.Request) -> Principal:
        """Raises Refused (UNAUTHENTICATED); which code that is, the surface says."""
        token = _token_of(request)
        key = self._key(token) if token is not None else None
        if key is None or key.revoked_ms is not None:
            raise Refused(FaultKind.UNAUTHENTICATED)
        known, principal = self._principals.get(key.id, (None, None))
        if principal is None or known is not key:
            principal = principal_of(key)
            self._principals[key.id] = (key, principal)
        note(request, workspace=principal.workspace, environment=principal.environment, key_id=principal.key_id)
        return principal

    async def await_news_of(self, request: web.Request) -> None:
        """For a key that the view does not know: reads `control` to its end once, as it may be seconds old."""
        token = _token_of(request)
        if token is not None and self._key(token) is None:
            await self._catch_up()

    def _key(self, token: str) -> Key | None:
        token_hash = self._hash(token)
        key = self._view.keys_by_hash.get(token_hash)
        if key is None or not hmac.compare_digest(key.token_hash, token_hash):
            return None
        return key


def key_news(authenticator: Authenticator) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Middleware that stands before whatever calls the authenticator."""

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        await authenticator.await_news_of(request)
        return await handler(request)

    return middleware


def require_scope(principal: Principal, scope: str) -> None:
    """Raises Refused (FORBIDDEN)."""
    if not principal.may(scope):
        raise Refused(FaultKind.FORBIDDEN)


class SharedCatchUp:
    """Awaited, it returns after a read that began later than the call. However many wait, reads begin at least
    `apart_seconds` after one another, so wrong keys can't hammer the broker."""

    def __init__(
        self, catch_up: Callable[[], Awaitable[object]], apart_seconds: float = CATCH_UPS_APART_SECONDS
    ) -> None:
        self._catch_up = catch_up
        self._apart_seconds = apart_seconds
        self._next: asyncio.Task[None] | None = None
        self._may_begin_seconds = 0.0

    async def __call__(self) -> None:
        if self._next is None:
            self._next = asyncio.create_task(self._run())
        await asyncio.shield(self._next)

    async def _run(self) -> None:
        now_seconds = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, self._may_begin_seconds - now_seconds))
        self._next = None  # who comes from here on may have missed what this read sees
        self._may_begin_seconds = asyncio.get_running_loop().time() + self._apart_seconds
        await self._catch_up()


def _token_of(request: web.Request) -> str | None:
    """The token of exactly one well-formed Authorization header."""
    written = request.headers.getall(hdrs.AUTHORIZATION, ())
    if len(written) != 1:
        return None
    found = _BEARER.fullmatch(written[0])
    return found[1] if found else None
