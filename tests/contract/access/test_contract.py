"""What holds of every surface because its OpenAPI document says so, and that a surface whose document is silent on who
may do what does not start.
"""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from domain.limits.quotas import RATE_CLASSES, Quota
from domain.security.api_tokens import mint_token
from domain.security.principals import SCOPES_OF_KIND, SESSION
from ingest_gateway.surfaces.burn.app import BURN
from ingest_gateway.surfaces.burn.edge.endpoints import Dialect
from ingest_gateway.surfaces.burn.edge.providers import providers_of
from ingest_gateway.surfaces.events.app import EVENTS
from ingest_gateway.surfaces.served import ALL
from ingest_gateway.surfaces.shared.contract import METHODS, ContractBroken, load_document
from ingest_gateway.surfaces.surface import Surface
from schemas.entities import KeyKind
from tests.contract.http.wire import Wire
from tests.support.access import DEAD_PROVIDERS, MASTER_KEY, Contract, a_key, services_of, strange
from tests.support.events_surface import a_stream
from tests.support.openapi import breaches

ORDINARY: dict[str, set[str]] = {
    "events": {"events:read", "events:write"},
    "work": {"projects:read", "projects:write", "tasks:read", "tasks:write", "ai:use"},
    "spine": {"events:read", "events:write"},
    "burn": set(),
}
"""What goes on while nobody can be sure who may (docs/decisions/0009)."""

on_every_surface = pytest.mark.parametrize("surface", ALL, ids=lambda surface: surface.name)


@on_every_surface
def test_a_surface_takes_the_credentials_of_its_document(surface: Surface) -> None:
    contract = Contract(surface.name)
    assert contract.kinds.keys() == surface.kinds
    assert contract.environments == surface.environments
    for kind, scopes in contract.kinds.items():
        if kind != SESSION:
            assert scopes == SCOPES_OF_KIND[kind], kind
    every_scope = frozenset().union(*(operation.scopes for operation in contract.operations))
    assert contract.kinds.get(SESSION, every_scope) == every_scope


def without(document: dict[str, Any], method: str, path: str, word: str) -> dict[str, Any]:
    changed = {name: node for name, node in document.items() if name != word}
    changed["paths"] = {**document["paths"], path: {**document["paths"][path]}}
    changed["paths"][path][method] = {k: v for k, v in document["paths"][path][method].items() if k != word}
    return changed


@on_every_surface
@pytest.mark.parametrize("word", ["x-required-scopes", "x-ratelimit-class", "x-reach"])
def test_an_operation_that_does_not_say_who_may_does_not_start(
    surface: Surface, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = load_document(surface.name)
    services = services_of(surface, tmp_path)
    places = [(method, path) for path, item in document["paths"].items() for method in sorted(METHODS & item.keys())]
    for method, path in places:
        changed = without(document, method, path, word)
        monkeypatch.setattr(f"ingest_gateway.surfaces.{surface.name}.app.load_document", lambda _name, d=changed: d)
        with pytest.raises(ContractBroken, match=f"{method.upper()} {re.escape(path)} has no {word}"):
            surface.make_app(services)
    assert len(places) >= 9


@on_every_surface
def test_every_route_is_an_operation_or_open_to_all_on_purpose(surface: Surface, tmp_path: Path) -> None:
    """Beside the operations there are the documents, the preflights of what pages may do, and the edge proxy, which has
    a test of its own below."""
    app = surface.make_app(services_of(surface, tmp_path))
    operations = {(operation.method, operation.path) for operation in Contract(surface.name).operations}
    for route in app.router.routes():
        place = route.method, route.resource.canonical if route.resource is not None else ""
        if place in operations or (route.method == "HEAD" and ("GET", place[1]) in operations):
            continue
        assert re.match(r"document_|preflight_|edge\.", route.name or ""), place


@on_every_surface
@pytest.mark.requirement("F39")
async def test_what_is_refused_while_nobody_knows_who_may(surface: Surface, tmp_path: Path) -> None:
    """The view of keys is older than the bound: what is sent and looked up goes on, all that shows or changes the setup
    waits."""
    async with strange(surface, tmp_path) as running, Wire(running.port) as wire:
        kind = next(KeyKind(kind) for kind in running.contract.kinds if kind != SESSION)
        key, token = a_key("whole", kind)
        running.control.put(key)
        for behind_seconds in (59.0, 61.0):
            running.control.behind_seconds = behind_seconds
            for one in running.contract.operations:
                answer = await running.ask(wire, one.method, one.target, running.contract.ways[0].presented(token))
                unsure = answer.status == 503 and b"can't be sure" in answer.body
                may = one.scopes <= one.kinds.get(kind, frozenset())
                assert unsure is (may and behind_seconds > 60 and not one.scopes <= ORDINARY[surface.name]), one
                assert not unsure or answer.headers["retry-after"] == "1"


@pytest.mark.requirement("A-038", "A3")
async def test_a_stream_out_of_a_keys_reach_is_not_there(tmp_path: Path) -> None:
    """To read, with a key that has it and one that has another. What is changed: test_limited_keys.py."""
    async with strange(EVENTS, tmp_path) as running, Wire(running.port) as wire:
        running.control.put(a_stream("orders-prod"))
        tried = 0
        for one in running.contract.operations:
            if "{stream}" not in one.path or one.method != "GET":
                continue
            tried += 1
            for name, is_there in (("orders-prod", True), ("audit-prod", False)):
                key, token = a_key(f"of_{name}", KeyKind.SECRET, streams=[name])
                running.control.put(key)
                answer = await running.ask(wire, one.method, one.target, running.contract.ways[0].presented(token))
                absent = answer.status == 404 and answer.json["error"]["code"] == "stream_not_found"
                assert absent is not is_there, one
    assert tried >= 1


# (of whom, status, code) of calls of the edge proxy
CALLERS: list[tuple[dict[str, Any] | None, int, str]] = [
    (None, 401, "unauthorized"),
    ({}, 502, "upstream_unreachable"),
    ({"scopes": ["burn:write"]}, 502, "upstream_unreachable"),
    ({"scopes": ["burn:read"]}, 403, "forbidden"),
    ({"environment": "test"}, 403, "forbidden"),
    ({"revoked_ms": 1}, 401, "unauthorized"),
    ({"expires_ms": 1}, 401, "unauthorized"),
    ({"allowed_ips": ["127.0.0.0/8"]}, 502, "upstream_unreachable"),
    ({"allowed_ips": ["203.0.113.0/24"]}, 403, "address_blocked"),
    ({"streams": ["a"]}, 403, "forbidden"),
    *(({"kind": kind, "streams": ["a"]}, 401, "unauthorized") for kind in KeyKind if kind is not KeyKind.ORG),
]


@pytest.mark.requirement("B-045", "B-046", "A2", "A3", "A4")
async def test_every_provider_of_the_edge_proxy_with_every_key(tmp_path: Path) -> None:
    """They are no operations of the document; who may call them is the same as who may report a call."""
    async with strange(BURN, tmp_path) as running, Wire(running.port) as wire:
        for number, (changes, status, code) in enumerate(CALLERS):
            lines = []
            if changes is not None:
                key, token = a_key(f"edge{number}", **{"kind": KeyKind.ORG, **changes})
                running.control.put(key)
                lines.append(running.contract.ways[0].presented(token))
            for provider in providers_of(json.loads(DEAD_PROVIDERS)).values():
                rest = {
                    Dialect.OPENAI: "/chat/completions",
                    Dialect.ANTHROPIC: "/messages",
                    Dialect.GEMINI: "/models/m:generateContent",
                }[provider.dialect]
                answer = await running.ask(wire, "POST", f"/{provider.name}{provider.versions[-1]}{rest}", *lines)
                assert (answer.status, answer.json["_atlasburn"]["reason"]) == (status, code), (provider.name, changes)


READ_AS_TEXT = (
    *("User-Agent", "Referer", "Origin", "X-Forwarded-For", "Forwarded", "X-Request-Id", "traceparent", "Cookie"),
    *("Accept", "Accept-Encoding", "If-None-Match", "Atlas-After", "Last-Event-ID", "AtlasBurn-User"),
    *("ce-id", "ce-source", "ce-subject"),
)


@on_every_surface
@pytest.mark.requirement("A3")
async def test_no_byte_in_a_header_is_an_internal_error(surface: Surface, tmp_path: Path) -> None:
    """Latin-1, as it comes from old clients: each operation with all headers that anything reads as text."""
    lines = [f"{name}: Jos\udce9" for name in READ_AS_TEXT]
    async with strange(surface, tmp_path) as running:
        for number, one in enumerate(running.contract.operations):
            who = running.ways_in(one, f"ws_header{number:04}")
            async with Wire(running.port) as wire:
                answer = await running.ask(wire, one.method, one.target, who, *lines)
            assert answer.status != 500, (one.method, one.path, answer.body)


RATE_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-policy", "ratelimit")


@on_every_surface
@pytest.mark.requirement("W-039", "S-053", "X-07")
async def test_every_operation_is_counted_and_says_how_the_bucket_stands(surface: Surface, tmp_path: Path) -> None:
    """By its document's class; in a workspace of its own, whose bucket takes one request. A second one is refused in
    the document's form before anything else of it is looked at."""
    async with strange(surface, tmp_path, quota=Quota(burst=1, per_minute=1)) as running, Wire(running.port) as wire:
        for number, one in enumerate(running.contract.operations):
            line = running.ways_in(one, f"ws_{number}")
            first, second = [await running.ask(wire, one.method, one.target, line) for _ in range(2)]
            assert first.status not in (401, 403, 429), one
            told = [[answer.headers.get(name) for name in RATE_HEADERS] for answer in (first, second)]
            name = one.node["x-ratelimit-class"]
            name = name if name in RATE_CLASSES else f"{surface.name}.{name}"
            for limit, remaining, reset, policy, state in told:
                assert (limit, remaining, policy) == ("1", "0", f'"{name}";q=1;w=60'), one
                assert reset is not None and 50 <= int(reset) - time.time() <= 61
                assert re.fullmatch(rf'"{re.escape(name)}";r=0;t=(59|60)', state or ""), state
            assert (second.status, second.headers["retry-after"]) in ((429, "60"), (429, "59")), one
            (media,) = one.response(429)["content"].values()
            assert list(breaches(running.contract.document, media["schema"], second.json)) == []
            code = second.json["title"] if surface.name == "work" else second.json["error"]["code"]
            assert code == "rate_limit_exceeded"


@on_every_surface
@pytest.mark.requirement("A9")
async def test_guesses_are_slowed_down_and_good_keys_are_not(
    surface: Surface, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked for; told in the surface's own form, without a word on what was wrong with the guess."""
    monkeypatch.setattr("ingest_gateway.identity.failures.BURST", 5)
    monkeypatch.setattr("ingest_gateway.identity.failures.PER_SECOND", 1e-6)
    async with strange(surface, tmp_path) as running, Wire(running.port) as wire:
        way, operations = running.contract.ways[0], running.contract.operations
        kind = next(KeyKind(kind) for kind in running.contract.kinds if kind != SESSION)
        key, token = a_key("good", kind)
        running.control.put(key)
        guesses = [way.presented(mint_token(MASTER_KEY, kind, "live", f"guess_{n}")) for n in range(8)]
        asked = [operations[n % len(operations)] for n in range(len(guesses))]
        answers = [
            await running.ask(wire, one.method, one.target, line) for one, line in zip(asked, guesses, strict=True)
        ]
        assert [answer.status for answer in answers] == [401] * 5 + [429] * 3
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers[5:])
        catch_ups = running.control.catch_ups
        assert (await running.ask(wire, asked[0].method, asked[0].target, guesses[0])).status == 429
        assert running.control.catch_ups == catch_ups, "nobody looks for the keys of one who guesses"
        good = await running.ask(wire, operations[0].method, operations[0].target, way.presented(token))
        assert good.status not in (401, 429)
