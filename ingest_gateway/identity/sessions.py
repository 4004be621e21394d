"""Sessions: JSON Web Tokens of people who signed in elsewhere, with all scopes in one workspace (W-012, W-014).

A token must be signed by one of our issuer's keys with that key's algorithm, for us, and name its end. Claims: `iss`,
`aud`, `exp`, `sub` (the person) and `workspace` must be there; `environment` is live unless it says test; `nbf` and
`iat` hold where they are given. Nothing in a token's head but `kid` is looked at: `jku`, `x5u`, `jwk` bring no key in
(A5; RFC 8725).
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import jwt

from domain.security.principals import SCOPES_OF_KIND, SESSION, Principal
from ingest_gateway.identity.session_keys import SessionKey, SessionKeys
from schemas.topics import ENVIRONMENTS

CLOCKS_APART_SECONDS = 30
CACHED_MAX = 10_000
NAME_CHARACTERS_MAX = 128
REQUIRED = ["iss", "aud", "exp", "sub", "workspace"]
_TIMES = ("exp", "nbf", "iat")
_BROKEN = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError, AttributeError)


class Verified(NamedTuple):
    """A token that was found good: for whom, by which key, until when (seconds since 1970)."""

    principal: Principal
    kid: str | None
    key: SessionKey
    until_seconds: float


class Sessions:
    def __init__(
        self, keys: SessionKeys, *, issuer: str, audience: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._verified: OrderedDict[str, Verified] = OrderedDict()

    async def await_news_of(self, token: str) -> None:
        """Before `principal`: reads the issuer's keys where the token names one that isn't known."""
        if token not in self._verified:
            head = _head(token)
            if head is not None:
                await self._keys.await_news_of(head.get("kid"))

    def principal(self, token: str) -> Principal | None:
        """None for every token that is not good. Whether the workspace exists is not checked."""
        known = self._verified.get(token)
        if known is None:
            known = self._verify(token)
            if known is None:
                return None
            self._verified[token] = known
            if len(self._verified) > CACHED_MAX:
                self._verified.popitem(last=False)
        if self._clock() >= known.until_seconds or self._keys.find(known.kid) is not known.key:
            del self._verified[token]
            return None
        return known.principal

    def _verify(self, token: str) -> Verified | None:
        head = _head(token)
        if head is None:
            return None
        key = self._keys.find(head.get("kid"))
        if key is None or head.get("alg") != key.algorithm:
            return None
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=CLOCKS_APART_SECONDS,
                options={"require": REQUIRED},
            )
            principal = _principal(claims)
        except _BROKEN:
            return None
        if principal is None:
            return None
        return Verified(principal, head.get("kid"), key, claims["exp"] + CLOCKS_APART_SECONDS)


def _head(token: str) -> dict[str, Any] | None:
    """None where it can't be read, has a kid that is no text, or asks for what we don't do (`crit`, RFC 7515)."""
    try:
        head = jwt.get_unverified_header(token)
    except _BROKEN:
        return None
    kid = head.get("kid")
    if "crit" in head or not (kid is None or isinstance(kid, str)):
        return None
    return head


def _principal(claims: dict[str, Any]) -> Principal | None:
    """The library takes times written as text; the standard does not."""
    if not all(_is_time(claims[name]) for name in _TIMES if name in claims):
        return None
    person, workspace, environment = claims["sub"], claims["workspace"], claims.get("environment", "live")
    if not (_is_name(person) and _is_name(workspace)) or environment not in ENVIRONMENTS:
        return None
    return Principal(
        workspace=workspace,
        environment=environment,
        key_id=f"user:{person}",
        kind=SESSION,
        scopes=SCOPES_OF_KIND[SESSION],
    )


def _is_time(value: object) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME_CHARACTERS_MAX and value.isprintable()
