"""The keys that sessions are signed with: one secret of the installation, or an identity provider's JWKS.

Which algorithm a key verifies is decided when the key is read, never by a token (RFC 8725, 3.1): HS256 for the secret;
RS256, ES256 or EdDSA by the type of a JWKS key. A JWKS is read again when a token names a key that it lacks, and
when it is old; at most every few seconds, regardless of tokens. While it can't be read, the keys known last hold.
PyJWT's client for key sets is not used: docs/decisions/0027.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from operations.logs import Sparse
from operations.outgoing import open_socket

RSA_BITS_MIN = 2_048
JWKS_BYTES_MAX = 256 * 1024
JWKS_KEYS_MAX = 100
FETCH_SECONDS = 3.0
APART_SECONDS = 10.0
AGE_SECONDS_MAX = 300.0
LOOPBACK = frozenset({"127.0.0.1", "localhost"})
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}

_lines = Sparse(logging.getLogger("atlas.identity"))


@dataclass(frozen=True, slots=True, eq=False)
class SessionKey:
    """One key and the one algorithm that it verifies."""

    algorithm: str
    key: Any


class SessionKeys(Protocol):
    def find(self, kid: str | None) -> SessionKey | None: ...

    async def await_news_of(self, kid: str | None) -> None:
        """Before `find`: reads about a key that isn't known, if there is anything to read."""
        ...


class JwksInvalid(Exception):
    """The JWKS can't be read or is none; the message says why."""


class SharedSecret:
    """HS256 by one secret, regardless of the key that a token names."""

    def __init__(self, secret: bytes) -> None:
        self._key = SessionKey("HS256", secret)

    def find(self, kid: str | None) -> SessionKey | None:
        return self._key

    async def await_news_of(self, kid: str | None) -> None:
        return


class Jwks:
    """Public keys by `kid`, which is compared with those of the set and means nothing else."""

    def __init__(self, read: Callable[[], Awaitable[bytes]], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._keys: dict[str, SessionKey] = {}
        self._read_seconds: float | None = None
        self._began_seconds: float | None = None
        self._reading: asyncio.Task[None] | None = None

    def find(self, kid: str | None) -> SessionKey | None:
        return None if kid is None else self._keys.get(kid)

    async def await_news_of(self, kid: str | None) -> None:
        known = self.find(kid) is not None
        old = self._read_seconds is None or self._clock() - self._read_seconds > AGE_SECONDS_MAX
        if (not known or old) and self._may_read():
            self._began_seconds = self._clock()
            self._reading = asyncio.create_task(self._refresh())
        if not known and self._reading is not None:
            await asyncio.shield(self._reading)

    def _may_read(self) -> bool:
        if self._reading is not None and not self._reading.done():
            return False
        return self._began_seconds is None or self._clock() - self._began_seconds >= APART_SECONDS

    async def _refresh(self) -> None:
        try:
            text = await self._read()
            found = keys_in(text)
        except (JwksInvalid, OSError, aiohttp.ClientError, TimeoutError) as error:
            _lines.event("sessions.keys_unread", type(error).__name__, reason=str(error)[:200])
            return
        # A key that is the same stays the same object, so that sessions verified by it need not be verified again.
        self._keys = {kid: self._same(kid, key) for kid, key in found.items()}
        self._read_seconds = self._clock()

    def _same(self, kid: str, key: SessionKey) -> SessionKey:
        before = self._keys.get(kid)
        return before if before is not None and (before.algorithm, before.key) == (key.algorithm, key.key) else key


def keys_in(text: bytes) -> dict[str, SessionKey]:
    """The set's signing keys of the types that we take; others are passed over. Raises JwksInvalid."""
    try:
        listed = json.loads(text)["keys"]
        entries = [entry for entry in listed if isinstance(entry, dict)][:JWKS_KEYS_MAX]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise JwksInvalid("not a JSON Web Key Set") from error
    found = {}
    for entry in entries:
        kid, key = entry.get("kid"), _key_of(entry)
        if isinstance(kid, str) and key is not None:
            found[kid] = key
    return found


def _key_of(entry: dict[str, Any]) -> SessionKey | None:
    kind = entry.get("kty")
    curve = entry.get("crv") if kind in ("EC", "OKP") else None
    algorithm = _ALGORITHMS.get((kind, curve)) if isinstance(kind, str) else None
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    public = {name: value for name, value in entry.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}
    try:
        key = jwt.PyJWK(public, algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    too_short = isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS_MIN
    return None if too_short else SessionKey(algorithm, key)


def reader_of(source: str) -> Callable[[], Awaitable[bytes]]:
    """Reads a JWKS from a https URL (http on this machine) or from a file. The reading raises JwksInvalid, OSError."""
    parts = urlsplit(source)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return lambda: _fetch(source)
    if not parts.scheme:
        return lambda: asyncio.to_thread(_read_file, Path(source))
    raise JwksInvalid("ATLAS_JWT_JWKS must be a https URL or a file")


async def _fetch(url: str) -> bytes:
    timeout, connector = aiohttp.ClientTimeout(total=FETCH_SECONDS), aiohttp.TCPConnector(socket_factory=open_socket)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
        session.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as response,
    ):
        if response.status != 200:
            raise JwksInvalid(f"answered with {response.status}")
        text = bytearray()
        async for chunk in response.content.iter_any():
            text += chunk
            if len(text) > JWKS_BYTES_MAX:
                raise JwksInvalid("larger than a key set may be")
        return bytes(text)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        text = file.read(JWKS_BYTES_MAX + 1)
    if len(text) > JWKS_BYTES_MAX:
        raise JwksInvalid("larger than a key set may be")
    return text
