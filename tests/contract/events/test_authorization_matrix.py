"""Every operation of the document with every kind of credential, right and wrong: who gets 401 or 403, who gets in.

The operations come from the OpenAPI document, so that a new one is in the matrix by itself. "Gets in" means an answer
of the operation itself: what it says of an empty body or of an absent thing is other tests' business.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jwt
import pytest

from ingest_gateway.identity.authentication import Authenticator
from ingest_gateway.identity.principals import EVENTS_KINDS, SCOPES_OF_KIND
from ingest_gateway.identity.session_keys import SharedSecret
from ingest_gateway.identity.sessions import Sessions
from ingest_gateway.services import Services
from ingest_gateway.surfaces.contract import load_document, operations_of
from operations.control_reader import ControlReader
from schemas.entities import Key, KeyKind, Workspace
from schemas.tokens import TokenHasher, mint_token
from tests.contract.events.test_surface import address
from tests.support import events_surface
from tests.support.events_surface import MASTER_KEY, WORKSPACE, LocalControl, Surface

OPERATIONS = operations_of(load_document("events"))
REFUSED, FORBIDDEN, BLOCKED, IN = (401, "authentication_failed"), (403, "forbidden"), (403, "address_blocked"), "in"
ISSUER, AUDIENCE, SESSION_SECRET = "https://id.example.com", "atlas", b"0123456789abcdef" * 4
AHEAD_MS = 4_000_000_000_000
HASHER = TokenHasher(MASTER_KEY)


@dataclass(frozen=True)
class Credential:
    """A kind with limits, and what it gets where its kind and scopes allow the operation."""

    name: str
    kind: KeyKind = KeyKind.SECRET
    expected: object = IN
    changes: tuple[tuple[str, Any], ...] = ()

    def put(self, control: LocalControl) -> str:
        token = mint_token(MASTER_KEY, self.kind, "live", f"key_{self.name}")
        values: dict[str, Any] = {
            "id": f"key_{self.name}",
            "workspace": WORKSPACE,
            "created_ms": 0,
            "environment": "live",
            "key_kind": self.kind,
            "name": self.name,
            "token_hash": HASHER.hash(token),
        }
        control.put(Key(**{**values, **dict(self.changes)}))
        return token


def a(name: str, kind: KeyKind = KeyKind.SECRET, expected: object = IN, **changes: Any) -> Credential:
    return Credential(name.replace(" ", "_"), kind, expected, tuple(changes.items()))


CREDENTIALS = [
    a("secret"),
    a("publishable", KeyKind.PUBLISHABLE, streams=["orders-prod"]),
    a("access token", KeyKind.ACCESS_TOKEN, REFUSED),
    a("spine", KeyKind.SPINE, REFUSED),
    a("org", KeyKind.ORG, REFUSED),
    *(a(f"revoked {kind}", kind, REFUSED, revoked_ms=1) for kind in KeyKind),
    a("expired", expected=REFUSED, expires_ms=1),
    a("not expired", expires_ms=AHEAD_MS),
    a("rotated", rotated_to="key_2", overlap_until_ms=AHEAD_MS),
    a("rotated and over", expected=REFUSED, rotated_to="key_2", overlap_until_ms=1),
    a("of this network", allowed_ips=["127.0.0.0/8"]),
    a("of another network", expected=BLOCKED, allowed_ips=["203.0.113.0/24"]),
    a("revoked of another network", expected=REFUSED, allowed_ips=["203.0.113.0/24"], revoked_ms=1),
    a("of one stream", streams=["orders-prod"]),
    *(a(f"only {scope.replace(':', ' ')}", scopes=[scope]) for scope in sorted(SCOPES_OF_KIND[KeyKind.SECRET])),
    a("publishable with more scopes", KeyKind.PUBLISHABLE, streams=["orders-prod"], scopes=["admin", "events:write"]),
]


@pytest.fixture
async def surface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Surface]:
    """With an identity provider, and patience for any number of failed attempts."""
    monkeypatch.setattr("ingest_gateway.identity.failures.BURST", 100_000)
    made = events_surface.services_on

    def services_on(home: Path, control: LocalControl, *rest: Any, **timeouts: float) -> Services:
        services = made(home, control, *rest, **timeouts)
        sessions = Sessions(SharedSecret(SESSION_SECRET), issuer=ISSUER, audience=AUDIENCE)
        services.authenticate = Authenticator(cast(ControlReader, control), HASHER, sessions=sessions)
        return services

    monkeypatch.setattr(events_surface, "services_on", services_on)
    async with events_surface.events_surface(tmp_path) as running:
        running.control.put(Workspace(id=WORKSPACE, workspace=WORKSPACE, created_ms=0, name="Test"))
        yield running


async def outcome(surface: Surface, method: str, path: str, authorization: str | None) -> object:
    """What the operation answered, or IN."""
    headers = {} if authorization is None else {"Authorization": authorization}
    body = b"{}" if method in ("POST", "PATCH", "PUT") else None
    answer = await surface.request(method, address(path), body, key=None, **headers)
    assert answer.status != 500
    if answer.status not in (401, 403):
        return IN
    assert answer.headers.get("WWW-Authenticate") == ("Bearer" if answer.status == 401 else None)
    return answer.status, answer.code


@pytest.mark.requirement("A-006", "A-008", "A-011", "A-012", "A-013", "A-073", "A2", "A3", "A4")
@pytest.mark.parametrize("credential", CREDENTIALS, ids=lambda credential: credential.name)
async def test_every_operation_with_a_key(surface: Surface, credential: Credential) -> None:
    token = credential.put(surface.control)
    allowed = SCOPES_OF_KIND[credential.kind]
    scopes = allowed & set(dict(credential.changes).get("scopes", allowed))
    for (method, path), operation in OPERATIONS.items():
        expected = credential.expected
        if expected is IN and not set(operation.scopes or ()) <= scopes:
            expected = FORBIDDEN
        assert await outcome(surface, method, path, f"Bearer {token}") == expected, f"{method} {path}"


def a_session(**claims: Any) -> str:
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "usr_1", "workspace": WORKSPACE, "exp": time.time() + 600}
    return "Bearer " + jwt.encode({**whole, **claims}, SESSION_SECRET, algorithm="HS256")


WRONG = {
    "nothing": None,
    "no token": "Bearer",
    "no scheme": mint_token(MASTER_KEY, "sk", "live", "key_live"),
    "another scheme": "Basic " + mint_token(MASTER_KEY, "sk", "live", "key_live"),
    "unknown": "Bearer " + mint_token(MASTER_KEY, "sk", "live", "key_nobodys"),
    "another master key's": "Bearer " + mint_token(b"x" * 32, "sk", "live", "key_live"),
    "live and test exchanged": "Bearer " + mint_token(MASTER_KEY, "sk", "test", "key_live"),
    "secret and publishable exchanged": "Bearer " + mint_token(MASTER_KEY, "pk", "live", "key_live"),
    "a session over": a_session(exp=1),
    "a session of another issuer": a_session(iss="https://evil.example"),
    "a session for others": a_session(aud="other"),
    "a session of a workspace that there is not": a_session(workspace="ws_nowhere"),
    "8 KB": "Bearer " + "x" * 8_000,
}


@pytest.mark.requirement("A-006", "A-013", "A-073", "A1", "A2", "A5")
@pytest.mark.parametrize("what", WRONG)
async def test_every_operation_with_none(surface: Surface, what: str) -> None:
    """At once, since those that no key is known for wait for the next look at `control`, five a second."""
    asked = [outcome(surface, method, path, WRONG[what]) for method, path in OPERATIONS]
    assert dict(zip(OPERATIONS, await asyncio.gather(*asked), strict=True)) == dict.fromkeys(OPERATIONS, REFUSED)


@pytest.mark.requirement("A-013", "A1", "A2")
async def test_one_text_for_all(surface: Surface) -> None:
    """Nothing but the request's id differs between the answers to wrong credentials."""
    answers = set()
    for written in [
        *WRONG.values(),
        *(f"Bearer {c.put(surface.control)}" for c in CREDENTIALS if c.expected == REFUSED),
    ]:
        headers = {} if written is None else {"Authorization": written}
        answer = await surface.request("GET", "/v1/event-streams", key=None, **headers)
        error = answer.json["error"]
        answers.add((answer.status, error["code"], error["message"], str(error["details"]), len(answer.headers)))
    assert len(answers) == 1


@pytest.mark.requirement("A-006")
async def test_every_operation_with_a_session(surface: Surface) -> None:
    for method, path in OPERATIONS:
        assert await outcome(surface, method, path, a_session()) == IN


@pytest.mark.requirement("F39")
async def test_what_is_refused_while_nobody_knows_who_may(surface: Surface) -> None:
    """The view of keys is older than the bound: events go on, all that shows or changes the setup waits."""
    token = a("secret").put(surface.control)
    for behind_seconds, expected in ((59.0, IN), (61.0, "unavailable")):
        surface.control.behind_seconds = behind_seconds
        for (method, path), operation in OPERATIONS.items():
            body = b"{}" if method in ("POST", "PATCH", "PUT") else None
            headers = {"Authorization": f"Bearer {token}"}
            answer = await surface.request(method, address(path), body, key=None, **headers)
            ordinary = set(operation.scopes or ()) <= {"events:read", "events:write"}
            unsure = answer.status == 503 and "can't be sure" in answer.json["error"]["message"]
            assert unsure is (expected != IN and not ordinary), f"{method} {path}"
            if unsure:
                assert (answer.code, answer.headers["Retry-After"]) == ("unavailable", "1")


def test_the_matrix_has_every_kind_of_key() -> None:
    assert {credential.kind for credential in CREDENTIALS} == set(KeyKind)
    assert {"sk", "pk", "session"} == EVENTS_KINDS
