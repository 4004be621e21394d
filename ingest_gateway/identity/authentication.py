"""From what a request presents to a principal, for every surface.

A key's token is looked up by its keyed hash in the view of `control`; the raw token is compared with nothing. Those
that were found good are remembered, and hold as long as the view has the very same key: a revocation counts as soon as
the view has it. For every bad credential (unknown, revoked, expired, of another surface) the answer is the
same (A1, A2). Only a good one learns more: that it may not be used from this address or origin, or that its
environment is not served.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import hdrs, web

from domain.security.api_tokens import TokenHasher
from domain.security.principals import EVENTS_KINDS, MISSING_SCOPE, SESSION, Principal, principal_of
from ingest_gateway.http.addresses import address_of
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.http.request_log import CALLER
from ingest_gateway.identity.credentials import BEARER, Presentation
from ingest_gateway.identity.failures import FailedAttempts
from ingest_gateway.identity.last_used import LastUsed
from ingest_gateway.identity.sessions import Sessions
from ingest_gateway.metrics import AUTHENTICATION_FAILURES
from operations.control_reader import ControlReader
from schemas.entities import Key
from schemas.topics import ENVIRONMENTS

KNOWN_MAX = 10_000
CATCH_UPS_APART_SECONDS = 0.2
OTHER_ORIGIN = "The key may not be used by pages of this origin."
OTHER_ENVIRONMENT = "The key is of the environment {}, which is not served here."
NOT_READY = "The gateway has just started. Please send it again."

PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)
_REFUSED, _LIMITED, _BLOCKED = (AUTHENTICATION_FAILURES.labels(answer) for answer in ("401", "429", "403"))


class Known(NamedTuple):
    """A key that was found good. `anywhere`: it may be used wherever it is known."""

    key: Key
    principal: Principal
    anywhere: bool


class Authenticator:
    """One surface's: `kinds` are the credentials that it takes, `presentation` is how, `environments` are those served.

    `known` costs next to nothing and answers for nearly all requests; `find` for the others, and raises Refused
    (UNAUTHENTICATED, ADDRESS_BLOCKED, FORBIDDEN, RATE_LIMITED; the codes are the surface's). Called with a request it
    gives the principal without waiting for anything. `used`, `failures` and `sessions` may be shared by surfaces.
    """

    def __init__(
        self,
        control: ControlReader,
        hasher: TokenHasher,
        *,
        kinds: frozenset[str] = EVENTS_KINDS,
        presentation: Presentation = BEARER,
        environments: frozenset[str] = frozenset(ENVIRONMENTS),
        sessions: Sessions | None = None,
        used: LastUsed | None = None,
        failures: FailedAttempts | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._control = control
        self._view = control.view
        self._hash = hasher.hash
        self._kinds = kinds
        self._presentation = presentation
        self._environments = environments
        self._sessions = sessions if SESSION in kinds else None
        self._used = LastUsed() if used is None else used
        self._failures = FailedAttempts() if failures is None else failures
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._catch_up = SharedCatchUp(control.catch_up)

    def known(self, request: web.Request) -> Principal | None:
        """Who asks, where the same was found good before and still is; None: `find` has to look. In the surface's own
        header; a caller that presents it in another way is looked up each time.
        """
        known = self._known.get(request.headers.get(self._presentation.header, ""))
        if known is None:
            return None
        key, principal, anywhere = known
        if not anywhere or self._view.keys_by_hash.get(key.token_hash) is not key or not self._lasts(principal):
            return None
        request[PRINCIPAL] = principal
        request[CALLER] = principal.logged_as
        self._used.note(principal.workspace, principal.key_id)
        return principal

    async def find(self, request: web.Request) -> Principal:
        """Reads `control` first, where it has to. Raises Refused; UNAVAILABLE while no key was ever read."""
        if not self._control.ready:
            raise Refused(ErrorKind.UNAVAILABLE, NOT_READY)
        await self.await_news_of(request)
        return self(request)

    def __call__(self, request: web.Request) -> Principal:
        """The request's principal, the same however often it is asked for. Raises Refused."""
        known: Principal | None = request.get(PRINCIPAL)
        if known is not None:
            return known
        presentation = self._presentation.of(request)
        written = request.headers.getall(presentation.header, ())
        principal = self._find(written[0], presentation) if len(written) == 1 else None
        if principal is None:
            raise self._failed(request, bool(written))
        request[PRINCIPAL] = principal
        request[CALLER] = principal.logged_as
        self._check_place(request, principal)
        if principal.kind != SESSION:
            self._used.note(principal.workspace, principal.key_id)
        return principal

    async def await_news_of(self, request: web.Request) -> None:
        """For a key or a session's workspace that isn't known here: reads `control` to its end once, as the view may be
        seconds old; or the identity provider's keys. Not for an address that has failed too often."""
        presentation = self._presentation.of(request)
        written = request.headers.getall(presentation.header, ())
        if len(written) != 1 or written[0] in self._known:
            return
        credential = presentation.read(written[0])
        if credential is None or self._wait_seconds(request) > 0:
            return
        if credential.token is not None:
            if self._key(credential.token) is None:
                await self._catch_up()
        elif self._sessions is not None and credential.session is not None:
            await self._sessions.await_news_of(credential.session)
            found = self._sessions.principal(credential.session)
            if found is not None and found.workspace not in self._view.workspaces:
                await self._catch_up()

    def _find(self, written: str, presentation: Presentation) -> Principal | None:
        known = self._known.get(written)
        if known is not None:
            if self._view.keys_by_hash.get(known.key.token_hash) is known.key and self._lasts(known.principal):
                return known.principal
            del self._known[written]
        credential = presentation.read(written)
        if credential is None:
            return None
        if credential.token is not None:
            return self._key_principal(credential.token, written, presentation)
        if self._sessions is None or credential.session is None:
            return None
        found = self._sessions.principal(credential.session)
        return found if found is not None and found.workspace in self._view.workspaces else None

    def _key_principal(self, token: str, written: str, presentation: Presentation) -> Principal | None:
        """Good ones are remembered as they are usually written, so that no caller can have many spellings kept."""
        key = self._key(token)
        if key is None or key.revoked_ms is not None or key.key_kind not in self._kinds:
            return None
        principal = principal_of(key)
        if not self._lasts(principal):
            return None
        if written == presentation.usual(token):
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[written] = Known(key, principal, self._is_free(principal))
        return principal

    def _lasts(self, principal: Principal) -> bool:
        return principal.ends_ms is None or self._clock() * 1_000 < principal.ends_ms

    def _key(self, token: str) -> Key | None:
        token_hash = self._hash(token)
        key = self._view.keys_by_hash.get(token_hash)
        if key is None or not hmac.compare_digest(key.token_hash, token_hash):
            return None
        return key

    def _failed(self, request: web.Request, anything: bool) -> Refused:
        """A request without any credential is no attempt at one, and is not counted."""
        wait_seconds = self._failures.count(address_of(request), time.monotonic()) if anything else 0.0
        if not wait_seconds:
            _REFUSED.inc()
            return Refused(ErrorKind.UNAUTHENTICATED, self._presentation.hint or None)
        _LIMITED.inc()
        retry_after_ms = int(wait_seconds * 1_000) + 1
        return Refused(
            ErrorKind.RATE_LIMITED,
            "Too many failed attempts from this address.",
            details={"retry_after_ms": retry_after_ms},
            headers={hdrs.RETRY_AFTER: str(-(-retry_after_ms // 1_000))},
        )

    def _wait_seconds(self, request: web.Request) -> float:
        return self._failures.wait_seconds(address_of(request), time.monotonic())

    def _is_free(self, principal: Principal) -> bool:
        """There is nothing for `_check_place` to look at."""
        return not principal.networks and not principal.origins and principal.environment in self._environments

    def _check_place(self, request: web.Request, principal: Principal) -> None:
        """Raises Refused where a good credential is used from elsewhere than it may be, or for what is not there."""
        if principal.networks and not principal.may_come_from(address_of(request)):
            _BLOCKED.inc()
            raise Refused(ErrorKind.ADDRESS_BLOCKED)
        if principal.origins:
            origin = request.headers.get(hdrs.ORIGIN)
            if origin is not None and origin not in principal.origins:
                _BLOCKED.inc()
                raise Refused(ErrorKind.FORBIDDEN, OTHER_ORIGIN)
        if principal.environment not in self._environments:
            _BLOCKED.inc()
            raise Refused(ErrorKind.FORBIDDEN, OTHER_ENVIRONMENT.format(principal.environment))


def require_scope(principal: Principal, scope: str) -> None:
    """Raises Refused (FORBIDDEN), which names the scope."""
    if not principal.may(scope):
        raise Refused(ErrorKind.FORBIDDEN, details={MISSING_SCOPE: scope})


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
        self._next = None  # a request that arrives from here on needs a read that begins later
        self._may_begin_seconds = asyncio.get_running_loop().time() + self._apart_seconds
        await self._catch_up()
