"""The key set of an identity provider, fetched from a real server over HTTP and HTTPS, while its keys are rotated."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ingest_gateway.identity.session_keys import APART_SECONDS, JWKS_BYTES_MAX, Jwks, reader_of
from ingest_gateway.identity.sessions import Sessions
from tests.support.certificates import a_certificate
from tests.support.receiver import Receiver, answer, drip
from tests.unit.test_sessions import AUDIENCE, CLAIMS, ISSUER, NOW, jwk, key_set

FIRST, SECOND = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
PATH = "/.well-known/jwks.json"


class Signed:
    """Sessions by the key set of this server, on a clock that moves when the test says so."""

    def __init__(self, url: str) -> None:
        self.now_seconds = 0.0
        self._keys = Jwks(reader_of(url + PATH), clock=lambda: self.now_seconds)
        self._sessions = Sessions(self._keys, issuer=ISSUER, audience=AUDIENCE, clock=lambda: NOW)

    async def is_good(self, key: ec.EllipticCurvePrivateKey, kid: str) -> bool:
        token = jwt.encode(CLAIMS, key, algorithm="ES256", headers={"kid": kid})
        await self._sessions.await_news_of(token)
        return self._sessions.principal(token) is not None

    def later(self) -> None:
        self.now_seconds += APART_SECONDS


def serve(server: Receiver, *keys: tuple[ec.EllipticCurvePrivateKey, str]) -> None:
    body = key_set(*(jwk(key, kid) for key, kid in keys))
    server.script(PATH, answer(200, body, "Content-Type: application/jwk-set+json"))


def trust(monkeypatch: pytest.MonkeyPatch, trusting: ssl.SSLContext) -> None:
    """As if the certificate's issuer were among the system's."""
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    served, trusting = a_certificate(tmp_path, "127.0.0.1")
    trust(monkeypatch, trusting)
    with Receiver(tls=served) as server:
        yield server


@pytest.mark.requirement("A5", "W-012")
async def test_keys_are_rotated_with_an_overlap_over_https(server: Receiver) -> None:
    signed = Signed(server.url)
    serve(server, (FIRST, "k1"))
    assert await signed.is_good(FIRST, "k1")
    assert not await signed.is_good(SECOND, "k2")
    serve(server, (FIRST, "k1"), (SECOND, "k2"))
    signed.later()
    assert await signed.is_good(SECOND, "k2") and await signed.is_good(FIRST, "k1")
    serve(server, (SECOND, "k2"))
    signed.later()
    assert not await signed.is_good(SECOND, "k3")  # a name that nobody knows has the set read again
    assert await signed.is_good(SECOND, "k2") and not await signed.is_good(FIRST, "k1")
    assert [(request.method, request.path) for request in server.requests] == [("GET", PATH)] * 3


async def test_a_certificate_that_nobody_vouches_for_gives_no_keys(tmp_path: Path) -> None:
    served, _trusting = a_certificate(tmp_path, "127.0.0.1")
    with Receiver(tls=served) as server:
        serve(server, (FIRST, "k1"))
        assert not await Signed(server.url).is_good(FIRST, "k1")
        assert server.requests == []


@pytest.mark.requirement("A5")
async def test_answers_that_are_no_key_set_leave_the_keys_as_they_were(
    server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest_gateway.identity.session_keys.FETCH_SECONDS", 0.3)
    signed = Signed(server.url)
    serve(server, (FIRST, "k1"))
    assert await signed.is_good(FIRST, "k1")
    foreign = key_set(jwk(SECOND, "k2"))
    with Receiver() as elsewhere:
        serve(elsewhere, (SECOND, "k2"))
        for behaviour in (
            answer(302, b"", f"Location: {elsewhere.url}{PATH}"),
            answer(500, foreign),
            answer(200, b"{}"),
            answer(200, foreign + b" " * JWKS_BYTES_MAX),
            answer(200, b"\x1f\x8b", "Content-Encoding: gzip"),
            drip(foreign, 0.2, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(foreign)),
        ):
            server.script(PATH, behaviour)
            signed.later()
            assert not await signed.is_good(SECOND, "k2")
            assert await signed.is_good(FIRST, "k1")
        assert elsewhere.requests == []


async def test_on_this_machine_http_will_do() -> None:
    with Receiver() as server:
        serve(server, (FIRST, "k1"))
        assert await Signed(server.url).is_good(FIRST, "k1")
