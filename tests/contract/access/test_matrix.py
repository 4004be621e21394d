"""Every operation of every surface with every kind of credential, right and wrong: who gets 401 or 403, who gets in.

Operations, scopes and kinds come from the OpenAPI documents, so that a new route is in the matrix by itself, and none
of the code that decides is asked what to expect. "Gets in" means an answer of the operation itself: what it says of an
empty body or of an absent thing is other tests' business.
"""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest

from domain.security.api_tokens import mint_token
from domain.security.principals import SESSION
from ingest_gateway.surfaces.served import ALL
from schemas.entities import KeyKind
from tests.contract.http.wire import Answer, Wire
from tests.support.access import (
    ISSUER,
    MASTER_KEY,
    OTHER_WORKSPACE,
    Contract,
    DocumentedOperation,
    Strange,
    Way,
    a_key,
    a_session,
    strange,
)
from tests.support.openapi import breaches

AHEAD_MS = 4_000_000_000_000
SURFACES = {surface.name: surface for surface in ALL}
IN, REFUSED, FORBIDDEN, BLOCKED, BEYOND = "in", "refused", "forbidden", "blocked", "beyond its streams"
CODES = {
    "events": {
        REFUSED: (401, "authentication_failed"),
        FORBIDDEN: (403, "forbidden"),
        BLOCKED: (403, "address_blocked"),
    },
    "work": {REFUSED: (401, "unauthorized"), FORBIDDEN: (403, "insufficient_scope"), BLOCKED: (403, "pat-ip-blocked")},
    "spine": {REFUSED: (401, "unauthorized"), FORBIDDEN: (403, "forbidden"), BLOCKED: (403, "forbidden")},
    "burn": {REFUSED: (401, "unauthorized"), FORBIDDEN: (403, "forbidden"), BLOCKED: (403, "address_blocked")},
}
"""What each document calls it."""
for outcomes in CODES.values():
    outcomes[BEYOND] = (403, "forbidden")
WHOLE = {KeyKind.SPINE: "admin"}
"""A scope that stands for all (S-058)."""


@dataclass(frozen=True)
class Credential:
    """A key with limits. `fate`: what it gets where kind, environment and scopes allow the operation."""

    name: str
    kind: KeyKind
    fate: str = IN
    changes: tuple[tuple[str, Any], ...] = ()

    def put(self, surface: Strange) -> str:
        key, token = a_key(self.name, self.kind, **dict(self.changes))
        surface.control.put(key)
        return token

    def outcome(self, contract: Contract, operation: DocumentedOperation, way: Way) -> str:
        """As the contract has it."""
        changes = dict(self.changes)
        if self.kind not in way.kinds or self.fate == REFUSED:
            return REFUSED
        if self.fate == BLOCKED:
            return BLOCKED
        allowed = operation.kinds.get(self.kind, frozenset())
        named = set(changes.get("scopes", ()))
        scopes = allowed & named if named and WHOLE.get(self.kind) not in named else allowed
        is_served = changes.get("environment", "live") in contract.environments
        if not is_served or not operation.scopes <= scopes:
            return FORBIDDEN
        return BEYOND if "streams" in changes and "x-reach" in contract.document else IN


def credentials(kind: KeyKind, contract: Contract) -> list[Credential]:
    def a(name: str, fate: str = IN, **changes: Any) -> Credential:
        if kind is KeyKind.PUBLISHABLE:
            changes = {"streams": ["orders-prod"], **changes}
        return Credential(f"{kind} {name}".replace(" ", "_").replace(":", "_"), kind, fate, tuple(changes.items()))

    every_scope = sorted({scope for operation in contract.operations for scope in operation.scopes})
    return [
        a("whole"),
        a("revoked", REFUSED, revoked_ms=1),
        a("expired", REFUSED, expires_ms=1),
        a("not expired", expires_ms=AHEAD_MS),
        a("rotated", rotated_to="key_2", overlap_until_ms=AHEAD_MS),
        a("rotated and over", REFUSED, rotated_to="key_2", overlap_until_ms=1),
        a("of this network", allowed_ips=["127.0.0.0/8"]),
        a("of another network", BLOCKED, allowed_ips=["203.0.113.0/24", "::ffff:203.0.113.0/120", "2001:db8::/32"]),
        a("revoked of another network", REFUSED, allowed_ips=["203.0.113.0/24"], revoked_ms=1),
        a("of the other environment", environment="test"),
        a("of another tenant", workspace=OTHER_WORKSPACE),
        a("of one stream", streams=["orders-prod"]),
        a("with more scopes than there are", scopes=[*every_scope, "tokens:write", "root"]),
        *(a(f"only {scope}", scopes=[scope]) for scope in every_scope),
        *(
            a(f"all but {scope}", scopes=["none", *(one for one in every_scope if one != scope)])
            for scope in every_scope
        ),
    ]


@pytest.fixture
async def surface(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Strange]:
    """With an identity provider, and patience for any number of failed attempts."""
    monkeypatch.setattr("ingest_gateway.identity.failures.BURST", 100_000)
    async with strange(SURFACES[request.param], tmp_path) as running:
        yield running


def on_every_surface(**requirements: tuple[str, ...]) -> pytest.MarkDecorator:
    """`requirements`: of each."""
    rows = [
        pytest.param(name, id=name, marks=pytest.mark.requirement(*requirements[name]) if name in requirements else ())
        for name in SURFACES
    ]
    return pytest.mark.parametrize("surface", rows, indirect=True)


def outcome_of(contract: Contract, operation: DocumentedOperation, answer: Answer) -> object:
    """IN, or status and code of an answer in the document's form."""
    assert answer.status != 500, operation
    if answer.status not in (401, 403):
        return IN
    is_bearer = answer.status == 401 and contract.name != "burn"
    assert answer.headers.get("www-authenticate") == ("Bearer" if is_bearer else None)
    (media,) = operation.response(answer.status)["content"].values()
    assert list(breaches(contract.document, media["schema"], answer.json)) == []
    if contract.name != "work":
        return answer.status, answer.json["error"]["code"]
    problem = answer.json
    assert problem["title"] != "insufficient_scope" or problem["missingScope"] in operation.scopes
    return answer.status, problem["title"]


def expected_of(contract: Contract, credential: Credential, operation: DocumentedOperation, way: Way) -> object:
    outcome = credential.outcome(contract, operation, way)
    return CODES[contract.name].get(outcome, outcome)


def every_key(contract: Contract) -> list[tuple[Credential, Way]]:
    return [(one, way) for kind in KeyKind for one in credentials(kind, contract) for way in contract.ways]


@on_every_surface(
    events=("A-006", "A-008", "A-010", "A-011", "A-012", "A-013", "A-073", "A2", "A3", "A4"),
    work=("W-003", "W-014", "W-016", "W-017", "W-026", "W-027", "W-028", "X-30", "A2", "A3", "A4"),
    spine=("S-003", "S-051", "S-052", "S-058", "A2", "A3", "A4"),
    burn=("B-003", "B-018", "B-046", "A2", "A3", "A4"),
)
async def test_every_operation_with_every_key(surface: Strange) -> None:
    contract, wrong, tried = surface.contract, [], 0
    async with Wire(surface.port) as wire:
        for credential, way in every_key(contract):
            line = way.presented(credential.put(surface))
            for operation in contract.operations:
                answer = await surface.ask(wire, operation.method, operation.target, line)
                found = outcome_of(contract, operation, answer)
                expected = expected_of(contract, credential, operation, way)
                tried += 1
                if found != expected:
                    wrong.append((credential.name, way.header, operation, found, expected))
    assert wrong == []
    assert tried >= len(KeyKind) * 14 * len(contract.operations)


@on_every_surface(events=("A-006",), work=("W-012", "W-014"), spine=("S-003",), burn=("B-003",))
async def test_every_operation_with_a_session(surface: Strange) -> None:
    contract, outcomes = surface.contract, CODES[surface.contract.name]
    claims = ({}, {"environment": "test"}, {"workspace": OTHER_WORKSPACE}, {"scopes": []})
    async with Wire(surface.port) as wire:
        for way, more in itertools.product(contract.ways, claims):
            line = way.presented(a_session(**more))
            for operation in contract.operations:
                answer = await surface.ask(wire, operation.method, operation.target, line)
                allowed = operation.scopes <= operation.kinds.get(SESSION, frozenset())
                is_served = more.get("environment", "live") in contract.environments
                expected = IN if allowed and is_served else outcomes[FORBIDDEN]
                expected = expected if SESSION in way.kinds else outcomes[REFUSED]
                assert outcome_of(contract, operation, answer) == expected, (operation, way.header, more)


def wrong_credentials(contract: Contract, way: Way) -> dict[str, str | None]:
    """The header's line by what is wrong; None: there is none. The tokens are like those of a key that is there."""
    kind = next(KeyKind(kind) for kind in contract.kinds if kind != SESSION)
    good = mint_token(MASTER_KEY, kind, "live", "key_good")
    others = {
        "unknown": mint_token(MASTER_KEY, kind, "live", "key_nobodys"),
        "another master key's": mint_token(b"x" * 32, kind, "live", "key_good"),
        "in capitals": good.upper(),
        "cut short": good[:-1],
        "with something behind it": good + "0",
        "live and test exchanged": good.replace("live", "test") if "live" in good else good[::-1],
        "a session over": a_session(exp=1),
        "a session of another issuer": a_session(iss="https://evil.example"),
        "a session for others": a_session(aud="other"),
        "a session of a workspace that there is not": a_session(workspace="ws_nowhere"),
        "a session that nobody signed": jwt.encode({"iss": ISSUER}, "", algorithm="none"),
        "8 KB": "x" * 8_000,
        "two": f"{good}, {good}",
    }
    lines = {what: way.presented(token) for what, token in others.items()}
    return {
        "nothing": None,
        "an empty header": way.line(""),
        "no token": way.line("Bearer"),
        "another scheme": way.line(f"Basic {good}"),
        **lines,
    }


@on_every_surface(
    events=("A-006", "A-013", "A-073", "A1", "A2", "A5"),
    work=("W-026", "A1", "A2", "A5"),
    spine=("S-051", "A1", "A2", "A5"),
    burn=("B-018", "B-045", "B-046", "A1", "A2", "A5"),
)
async def test_every_operation_with_none(surface: Strange) -> None:
    """At once, since those that no key is known for wait for the next look at `control`, five a second. Nothing but the
    request's id differs between the answers."""
    contract = surface.contract
    surface.control.put(a_key("good", next(KeyKind(kind) for kind in contract.kinds if kind != SESSION))[0])
    told = set()

    async def ask(what: str, line: str | None, operations: list[DocumentedOperation]) -> None:
        lines = () if line is None else (line,)
        async with Wire(surface.port) as wire:
            for operation in operations:
                answer = await surface.ask(wire, operation.method, operation.target, *lines)
                assert outcome_of(contract, operation, answer) == CODES[contract.name][REFUSED], f"{what}: {operation}"
                told.add((re.sub(r"req_\w+", "", answer.body.decode()), frozenset(answer.headers)))

    wrong = [item for way in contract.ways for item in wrong_credentials(contract, way).items()]
    await asyncio.gather(*(ask(what, line, contract.operations) for what, line in wrong))
    for credential, way in every_key(contract):
        if credential.outcome(contract, contract.operations[0], way) == REFUSED:
            await ask(credential.name, way.presented(credential.put(surface)), contract.operations[:1])
    assert len(told) == 1
