"""Sessions: which JSON Web Tokens are good, and that every other one is none, whatever it tries (RFC 8725)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain.security.principals import SCOPES_OF_KIND, SESSION
from ingest_gateway.identity.session_keys import (
    AGE_SECONDS_MAX,
    APART_SECONDS,
    Jwks,
    JwksInvalid,
    SharedSecret,
    keys_in,
    reader_of,
)
from ingest_gateway.identity.sessions import CLOCKS_APART_SECONDS, Sessions

ISSUER, AUDIENCE = "https://id.example.com", "atlas"
SECRET = b"0123456789abcdef" * 4
NOW = 4_000_000_000  # ahead of any clock that a library may ask
RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
SHORT_RSA = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PUBLIC_PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 600, "sub": "usr_1", "workspace": "ws_1"}


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    algorithm = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
    name = next((alg for kind, alg in algorithm.items() if isinstance(key, kind)), "EdDSA")
    written = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
    return {**written, "kid": kid, **more}


def key_set(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(entries)}).encode()


class Provider:
    """An identity provider whose key set changes, or is away."""

    def __init__(self, text: bytes) -> None:
        self.text: bytes | None = text
        self.reads = 0
        self.now_seconds = 1_000.0

    async def read(self) -> bytes:
        self.reads += 1
        if self.text is None:
            raise OSError("away")
        return self.text


@pytest.fixture
def provider() -> Provider:
    return Provider(key_set(jwk(RSA, "r1"), jwk(EC, "e1"), jwk(ED, "d1")))


def sessions_of(keys: Any, now: Callable[[], float] = lambda: NOW) -> Sessions:
    return Sessions(keys, issuer=ISSUER, audience=AUDIENCE, clock=now)


@pytest.fixture
async def sessions(provider: Provider) -> Sessions:
    keys = Jwks(provider.read, clock=lambda: provider.now_seconds)
    await keys.await_news_of("r1")
    return sessions_of(keys)


def signed(key: Any = RSA, alg: str = "RS256", kid: str | None = "r1", head: Any = None, **claims: Any) -> str:
    """A claim of None is left out."""
    whole = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    headers = {**({} if kid is None else {"kid": kid}), **(head or {})}
    return jwt.encode(whole, key, algorithm=alg, headers=headers)


def forged(head: Any, claims: Any, key: bytes | None = None) -> str:
    """A token put together by hand, with an HMAC under any key, or none."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims)]
    text = b".".join(parts)
    signature = b"" if key is None else hmac.new(key, text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@pytest.mark.requirement("W-012", "W-014")
@pytest.mark.parametrize(
    "token",
    [
        signed(),
        signed(EC, "ES256", "e1"),
        signed(ED, "EdDSA", "d1"),
        signed(aud=["other", AUDIENCE]),
        signed(nbf=1_000, iat=1_000),
        signed(head={"jku": "https://evil.example/keys", "x5u": "https://evil.example/cert"}),  # ignored
    ],
    ids=("RSA", "EC", "Ed25519", "several audiences", "times", "keys elsewhere"),  # the tokens differ in each process
)
def test_a_good_session_may_do_everything_in_its_workspace(sessions: Sessions, token: str) -> None:
    principal = sessions.principal(token)
    assert principal is not None
    assert (principal.workspace, principal.environment, principal.key_id) == ("ws_1", "live", "user:usr_1")
    assert (principal.kind, principal.scopes) == (SESSION, SCOPES_OF_KIND[SESSION])
    assert sessions.principal(token) is principal


BAD = {
    "alg none": forged({"alg": "none", "kid": "r1"}, CLAIMS),
    "alg None with a signature": forged({"alg": "None", "kid": "r1"}, CLAIMS, b"x"),
    "HS256 with the public key as secret": forged({"alg": "HS256", "kid": "r1"}, CLAIMS, PUBLIC_PEM),
    "another algorithm than the key's": signed(OTHER_RSA, "PS256"),
    "another algorithm of the same key": signed(RSA, "RS512"),
    "signed by another key": signed(OTHER_RSA),
    "another kid": signed(kid="e1"),
    "unknown kid": signed(kid="r2"),
    "no kid": signed(kid=None),
    "a kid that is a path": signed(kid="../../../dev/null"),
    "a kid that is SQL": signed(kid="r1' OR '1'='1"),
    "a kid that is no text": forged({"alg": "RS256", "kid": {"r1": 1}}, CLAIMS, b"x"),
    "its own key in its head": signed(OTHER_RSA, kid="x1", head={"jwk": jwk(OTHER_RSA, "x1")}),
    "its own key by address": signed(OTHER_RSA, kid="x1", head={"jku": "https://evil.example/keys"}),
    "what it says is critical": signed(head={"crit": ["exp"]}),
    "no exp": signed(exp=None),
    "exp over": signed(exp=1),
    "exp as text": signed(exp=str(NOW + 600)),
    "exp as boolean": signed(exp=True),
    "exp beyond numbers": signed(exp=float("inf")),
    "exp as object": signed(exp={"$gt": 0}),
    "nbf ahead": signed(nbf=NOW + 3_600),
    "nbf as text": signed(nbf="1000"),
    "iat as text": signed(iat="1000"),
    "no aud": signed(aud=None),
    "wrong aud": signed(aud="other"),
    "aud of another case": signed(aud="Atlas"),
    "no iss": signed(iss=None),
    "wrong iss": signed(iss="https://id.example.com.evil.example"),
    "no sub": signed(sub=None),
    "empty sub": signed(sub=""),
    "sub with a line end": signed(sub="usr_1\nadmin"),
    "long sub": signed(sub="u" * 129),
    "no workspace": signed(workspace=None),
    "workspace as list": signed(workspace=["ws_1"]),
    "another environment": signed(environment="prod"),
    "environment as list": signed(environment=["live"]),
    "cut short": signed()[:-1],
    "changed": signed().replace(".", ".A", 1),
    "no signature": signed().rpartition(".")[0] + ".",
    "two parts": signed().rpartition(".")[0],
    "claims that are a list": forged({"alg": "RS256", "kid": "r1"}, [1], b"x"),
    "a head that is a list": forged([], CLAIMS, b"x"),
    "not base 64": "ey.ey.ey",
    "deep": "[" * 5_000 + ".x.x",
    "a megabyte": signed(sub="u" * 1_000_000),
}


@pytest.mark.requirement("A5")
@pytest.mark.parametrize("what", BAD)
def test_every_other_token_is_none(sessions: Sessions, what: str) -> None:
    assert sessions.principal(BAD[what]) is None


@pytest.mark.requirement("A5")
def test_what_is_signed_with_the_shared_secret() -> None:
    sessions = sessions_of(SharedSecret(SECRET))
    good = signed(SECRET, "HS256", kid=None)
    assert sessions.principal(good) is not None
    for token in (signed(SECRET, "HS384"), signed(b"x" * 64, "HS256"), signed(), forged({"alg": "none"}, CLAIMS)):
        assert sessions.principal(token) is None


@pytest.mark.requirement("A5")
def test_a_session_ends_while_it_is_known(provider: Provider) -> None:
    now = [float(NOW)]
    sessions = sessions_of(SharedSecret(SECRET), lambda: now[0])
    token = signed(SECRET, "HS256")
    assert sessions.principal(token) is not None
    now[0] = NOW + 600 + CLOCKS_APART_SECONDS
    assert sessions.principal(token) is None


async def test_keys_are_rotated(provider: Provider, sessions: Sessions) -> None:
    """A new key is read about when a token names it; a key that is gone verifies nothing, also what it did before."""
    before, after = signed(), signed(OTHER_RSA, kid="r2")
    assert sessions.principal(before) is not None
    provider.text = key_set(jwk(OTHER_RSA, "r2"))
    provider.now_seconds += APART_SECONDS
    await sessions.await_news_of(after)
    assert sessions.principal(after) is not None
    assert sessions.principal(before) is None


@pytest.mark.requirement("A9")
async def test_unknown_keys_do_not_hammer_the_provider(provider: Provider, sessions: Sessions) -> None:
    for n in range(100):
        await sessions.await_news_of(signed(kid=f"unknown-{n}"))
    assert provider.reads == 1
    provider.now_seconds += APART_SECONDS
    for n in range(100):
        await sessions.await_news_of(signed(kid=f"unknown-{n}"))
    assert provider.reads == 2


async def test_while_the_provider_is_away_the_last_keys_hold(provider: Provider, sessions: Sessions) -> None:
    provider.now_seconds += AGE_SECONDS_MAX + 1
    for text in (None, b"{", b"[]", b'{"keys":7}'):
        provider.text = text
        provider.now_seconds += APART_SECONDS
        await sessions.await_news_of(signed(kid="unknown"))
        assert sessions.principal(signed()) is not None
    assert provider.reads == 5


# (entry of a key set, whether it is taken)
@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("entry", "taken"),
    [
        (jwk(RSA, "k"), True),
        (jwk(RSA, "k", alg="RS256", use="sig"), True),
        (jwk(RSA, "k", alg="HS256"), False),
        (jwk(RSA, "k", alg="none"), False),
        (jwk(RSA, "k", use="enc"), False),
        (jwk(SHORT_RSA, "k"), False),
        (jwk(EC, "k", crv="P-521"), False),
        ({"kty": "oct", "k": "c2VjcmV0", "kid": "k"}, False),
        ({"kty": "RSA", "kid": "k"}, False),
        ({"kty": ["RSA"], "kid": "k"}, False),
        ({**jwk(RSA, "k"), "kid": 7}, False),
        ({name: value for name, value in jwk(RSA, "k").items() if name != "kid"}, False),
    ],
)
def test_which_keys_of_a_set_are_taken(entry: dict[str, Any], taken: bool) -> None:
    assert (keys_in(key_set(entry)).keys() == {"k"}) is taken


@pytest.mark.parametrize("place", ["http://id.example.com/keys", "ftp://id.example.com/keys", "data:,x"])
def test_a_key_set_comes_by_a_way_that_can_be_trusted(place: str) -> None:
    with pytest.raises(JwksInvalid):
        reader_of(place)


async def test_a_key_set_in_a_file(tmp_path: Any) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(key_set(jwk(RSA, "r1")))
    keys = Jwks(reader_of(str(file)))
    await keys.await_news_of("r1")
    assert sessions_of(keys).principal(signed()) is not None
