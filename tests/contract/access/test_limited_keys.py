"""Keys that are limited to streams, with every operation of every surface and what lies outside their limit.

Operations and what each reaches (`x-reach`) come from the OpenAPI documents. What an operation's path names is tried by
itself; of an operation that is asked for things in its body or query, or shows many, a row here says what lies outside:
one without a row fails.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingest_gateway.log.event_log import Appended
from ingest_gateway.surfaces.events.app import EVENTS
from ingest_gateway.surfaces.served import ALL
from ingest_gateway.surfaces.shared.positions import position_of
from ingest_gateway.surfaces.shared.reach import ASKED, PATH
from ingest_gateway.surfaces.surface import Surface
from schemas.entities import KeyKind
from tests.contract.access.test_matrix import CODES, FORBIDDEN
from tests.contract.access.test_tenants_apart import (
    EVENT,
    MARK,
    NOBODYS,
    Answers,
    Ids,
    body_of,
    everything,
    filled,
    live_a_day,
    still,
    told,
)
from tests.contract.http.wire import Wire
from tests.support.access import DocumentedOperation, a_key, strange
from tests.support.whole_gateway import Tenant, WholeGateway, whole_gateway

MINE = "mine-only"
"""The stream that the limited key is for; the tenant's other things are marked with MARK."""
NEW = "not-made-yet"
URL = "https://mine.example.com/in"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[WholeGateway]:
    async with whole_gateway(tmp_path) as running:
        yield running


async def limited_to(gateway: WholeGateway, *streams: str, **more: Any) -> Tenant:
    """The first tenant with such a key for events."""
    key = await gateway.made(gateway.one, "events", "/v1/keys", {"name": "limited", "streams": list(streams), **more})
    return replace(gateway.one, tokens={**gateway.one.tokens, "events": key["secret"]})


def reaching(gateway: WholeGateway, reach: str) -> list[DocumentedOperation]:
    return [one for one in gateway.contracts["events"].operations if one.node["x-reach"] == reach]


def but_audit(answers: Answers) -> Answers:
    """Wishes that were refused are in the audit log."""
    return {
        place: answer for place, answer in answers.items() if place.split()[0] not in ("list_audit", "list_activity")
    }


@pytest.mark.requirement("A-038", "A3", "A7", "A8")
async def test_what_a_path_names_outside_is_as_if_it_were_not_there(gateway: WholeGateway) -> None:
    """For reading and changing, to the byte; and nothing of it changes."""
    theirs = await live_a_day(gateway, gateway.one)
    limited = await limited_to(gateway, MINE)
    before = still(await everything(gateway, gateway.one, theirs))
    operations = [one for one in gateway.contracts["events"].operations if "{" in one.path]
    for one in operations:
        (name,) = (name for name in theirs["events"] if f"{{{name}}}" in one.path)
        ids = theirs["events"][name], NOBODYS["events"][name]
        answers = [
            told(await gateway.ask(limited, "events", one.method, one.path.format(**{name: each}), body_of(one)), *ids)
            for each in ids
        ]
        assert answers[0] == answers[1] and answers[0][0] == 404, (one, answers)
    assert len(operations) >= 19 and {one.name for one in reaching(gateway, PATH)} < {one.name for one in operations}
    assert but_audit(still(await everything(gateway, gateway.one, theirs))) == but_audit(before)


# Of an operation: method and path with its query, body, status; {} for a name or id of what is outside, or of nobody's.
Row = tuple[str, dict[str, Any] | None, int, str]
OUTSIDE: dict[str, list[Row]] = {
    "create_stream": [
        ("", {"name": "any-other"}, 403, ""),
        ("", {"name": NEW, "default_routes": ["{}"]}, 400, "workflow"),
    ],
    "list_streams": [("", None, 200, "")],
    "create_workflow": [],  # it is for the key's streams: tested below
    "list_workflows": [("", None, 200, "")],
    "create_key": [
        ("", {"name": "more"}, 403, ""),
        ("", {"name": "more", "streams": [MARK]}, 403, ""),
        ("", {"name": "more", "streams": [MINE, MARK]}, 403, ""),
        ("", {"name": "more", "kind": "publishable", "streams": [MARK]}, 403, ""),
    ],
    "list_keys": [("", None, 200, "")],
    "create_webhook_endpoint": [
        ("", {"url": URL}, 403, ""),
        ("", {"url": URL, "streams": []}, 403, ""),
        ("", {"url": URL, "streams": [MARK]}, 403, ""),
        ("", {"url": URL, "streams": [MINE, MARK]}, 403, ""),
    ],
    "list_webhook_endpoints": [("", None, 200, "")],
    "publish_event": [("", {**EVENT, "stream": "{}"}, 404, "stream")],
    "publish_batch": [("", {"events": [{**EVENT, "stream": "{}"}]}, 200, "stream")],
    "list_events": [
        ("", None, 200, ""),
        ("?stream={}", None, 404, "stream"),
        ("?cursor={}", None, 400, "event_id"),
    ],
    "get_event": [("", None, 404, "event_id")],
    "replay_event": [("", {}, 404, "event_id")],
    "start_replay": [
        ("", {"stream": "{}", "from": "2026-05-18T00:00:00Z"}, 404, "stream"),
        ("", {"stream": MINE, "from": "2026-05-18T00:00:00Z", "workflows": ["{}"]}, 400, "workflow"),
    ],
    "list_audit": [("", None, 200, "")],
}


@pytest.mark.requirement("A-038", "A3", "A7", "A8")
async def test_what_is_asked_for_outside_is_refused_and_not_shown(gateway: WholeGateway) -> None:
    """Answered as what nobody has, byte for byte, where something is named; lists have nothing of it."""
    theirs = await live_a_day(gateway, gateway.one)
    limited = await limited_to(gateway, MINE, NEW)
    await gateway.made(limited, "events", "/v1/event-streams", {"name": MINE})
    before = still(await everything(gateway, gateway.one, theirs))
    outside, nobodys = theirs["events"] | {"stream": MARK}, NOBODYS["events"] | {"stream": "nobodys-one"}
    operations = {one.name: one for one in reaching(gateway, ASKED)}
    assert operations.keys() == OUTSIDE.keys(), "a new operation says what is outside"
    for name, rows in OUTSIDE.items():
        for query, form, status, named in rows:
            ids = (outside[named], nobodys[named]) if named else ("", "")
            answers = [await asked(gateway, limited, operations[name], query, form, named, one) for one in ids]
            assert told(answers[0], *ids) == told(answers[1], *ids), (name, form)
            assert answers[0].status == status, (name, form, answers[0].body)
            text = answers[0].body.decode().replace(ids[0] or MARK * 2, "")
            shown = [one for one in (*theirs["events"].values(), MARK) if one in text]
            assert shown == [], (name, shown, text)
    assert but_audit(still(await everything(gateway, gateway.one, theirs))) == but_audit(before)


async def asked(
    gateway: WholeGateway, tenant: Tenant, one: DocumentedOperation, query: str, form: Any, named: str, identifier: str
) -> Any:
    body = None if form is None else filled(form, identifier)
    path = one.path.format(**{named: identifier}) + query.format(identifier)
    return await gateway.ask(tenant, "events", one.method, path, body)


@pytest.mark.parametrize("surface", [one for one in ALL if one is not EVENTS], ids=lambda surface: surface.name)
@pytest.mark.requirement("A3", "A8")
async def test_a_surface_without_streams_is_out_of_a_limited_keys_reach(surface: Surface, tmp_path: Path) -> None:
    """No such key can be made any more; where there is one, its limit counts."""
    async with strange(surface, tmp_path) as running, Wire(running.port) as wire:
        way = running.contract.ways[0]
        for kind in (KeyKind(kind) for kind in sorted(running.contract.kinds) if kind in frozenset(KeyKind)):
            key, token = a_key(f"limited_{kind}", kind, streams=[MINE])
            running.control.put(key)
            for one in running.contract.operations:
                answer = await running.ask(wire, one.method, one.target, way.presented(token))
                code = answer.json["title"] if surface.name == "work" else answer.json["error"]["code"]
                may = one.scopes <= one.kinds.get(kind, frozenset())
                expected = CODES[surface.name][FORBIDDEN] if may or surface.name != "work" else (403, code)
                if surface.name == "work" and may:
                    expected = (403, "forbidden")
                assert (answer.status, code) == expected, one


@pytest.mark.requirement("A3", "A8")
async def test_what_is_ones_own_is_ones_own(gateway: WholeGateway) -> None:
    """A key limited to a stream makes, sees and changes all that belongs to it, and no other such key sees it."""
    await live_a_day(gateway, gateway.one)
    limited, other = await limited_to(gateway, MINE), await limited_to(gateway, "another-one")

    async def make(path: str, body: object) -> Any:
        return await gateway.made(limited, "events", path, body)

    workflow = await make("/v1/workflows", {"id": "wf_own", "name": "own", "url": URL})
    stream = await make("/v1/event-streams", {"name": MINE, "default_routes": [workflow["id"]]})
    endpoint = await make("/v1/webhook-endpoints", {"url": URL, "streams": [MINE]})
    key = await make("/v1/keys", {"name": "own", "streams": [MINE]})
    event = await make("/v1/events", {**EVENT, "stream": MINE})
    replay = await make(f"/v1/events/{event['id']}/replay", {})
    own = {
        "stream": stream["id"],
        "workflow": workflow["id"],
        "endpoint": endpoint["id"],
        "key": key["id"],
        "event_id": event["id"],
        "replay": replay["id"],
    }
    for one in gateway.contracts["events"].operations:
        if one.method != "GET" or "{" not in one.path:
            continue
        path = one.path.format(**own)
        statuses = [(await gateway.ask(who, "events", "GET", path)).status for who in (limited, other)]
        assert statuses == [200, 404], one
    audit = await gateway.ask(limited, "events", "GET", "/v1/audit")
    acted = {entry["action"] for entry in audit.json["data"] if entry["outcome"] == "done"}
    assert {"workflow.create", "webhook_endpoint.create", "key.create"} <= acted and MARK not in audit.body.decode()
    page = await gateway.ask(limited, "events", "GET", "/v1/audit?limit=1")
    following = await gateway.ask(limited, "events", "GET", f"/v1/audit?limit=1&cursor={page.json['next_cursor']}")
    assert page.json["data"] + following.json["data"] == audit.json["data"][:2]
    for path in ("/v1/workflows/wf_own/rotate-secret", f"/v1/webhook-endpoints/{endpoint['id']}/rotate-secret"):
        assert (await gateway.ask(other, "events", "POST", path, {})).status == 404
        assert (await gateway.ask(limited, "events", "POST", path, {})).status == 200


@pytest.mark.requirement("A3", "A8")
async def test_a_shared_workflow_is_shown_and_not_changed(gateway: WholeGateway) -> None:
    theirs = await live_a_day(gateway, gateway.one)
    limited = await limited_to(gateway, MINE)
    shared = theirs["events"]["workflow"]
    await gateway.made(gateway.one, "events", "/v1/event-streams", {"name": MINE, "default_routes": [shared]})
    shown = await gateway.ask(limited, "events", "GET", f"/v1/workflows/{shared}")
    assert shown.status == 200 and "signing_secret" not in shown.json
    for one in reaching(gateway, PATH):
        if "{workflow}" in one.path and one.method != "GET":
            refused = await gateway.ask(limited, "events", one.method, one.path.format(workflow=shared), body_of(one))
            assert (refused.status, refused.json["error"]["code"]) == (403, "forbidden"), one


@pytest.mark.requirement("A3", "A7", "S8")
async def test_a_place_on_a_stream_outside_is_none(gateway: WholeGateway) -> None:
    """`Atlas-After`: else how much is on it could be found out by asking."""
    theirs: Ids = await live_a_day(gateway, gateway.one)
    limited = await limited_to(gateway, MINE)
    assert theirs
    answers = []
    for stream in (MARK, "not-there"):
        place = position_of(Appended(f"events.{gateway.one.workspace}.live.{stream}", 0, 0, 0))
        answers.append(told(await gateway.ask(limited, "events", "GET", "/v1/events", Atlas_After=place), place))
    assert answers[0] == answers[1] and answers[0][0] == 400, answers
