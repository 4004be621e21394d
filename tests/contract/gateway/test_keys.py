"""`/v1/keys` on the real gateway: secrets shown once, rotated, revoked everywhere; nobody's but the workspace's own."""

import asyncio
import dataclasses
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest_gateway.log.bootstrap import ask_for_workspace
from ingest_gateway.log.clients import log_clients
from ingest_gateway.surfaces.events.app import EVENTS
from ingest_gateway.surfaces.served import serving
from operations.random_ids import short_id
from schemas.ids import WORKSPACE
from schemas.records import Audit
from schemas.topics import Topic
from tests.contract.gateway.conftest import MASTER_KEY, Answer, Gateway, a_gateway, settings_for
from tests.contract.gateway.test_lookups import EVENT_ID, OTHER_ID, write
from tests.contract.gateway.test_lookups import an_event as recorded_event
from tests.support.kafka_topics import read_all

PATH = "/v1/keys"
STREAMS = "/v1/event-streams"
SECONDS_MAX = 30.0


@asynccontextmanager
async def beside(gateway: Gateway, bootstrap: str, home: Path) -> AsyncIterator[Gateway]:
    """Another gateway process's part, with the same control process behind it, and a workspace of its own."""
    settings = settings_for(bootstrap, home, ATLAS_VERDICT_TIMEOUT_SECONDS="30")
    async with log_clients(settings) as clients:
        await clients.ready()
        workspace = short_id(WORKSPACE)
        made = await ask_for_workspace(clients, MASTER_KEY, workspace, "Other")
        keys = {name.removesuffix("_key"): token for name, token in made.items() if name.endswith("_key")}
        async with serving(settings, clients, [EVENTS]) as ports:
            url = f"http://127.0.0.1:{ports['events']}"
            yield dataclasses.replace(gateway, url=url, workspace=workspace, keys=keys, clients=clients)


async def make(gateway: Gateway, name: str, *, maker: str = "live", **fields: Any) -> dict[str, Any]:
    """A key, whose token the gateway then has under its name."""
    made = await gateway.ask("POST", PATH, {"name": name, **fields}, key=maker)
    assert made.status == 201, made.body
    key: dict[str, Any] = made.json
    gateway.keys[name] = key.pop("secret")
    return key


@pytest.mark.requirement("A-008", "A-010", "A-011", "A-012")
async def test_a_secret_is_shown_once_and_again_to_the_requests_repeat(gateway: Gateway) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {"name": "server", "streams": ["orders-prod"], "scopes": ["events:write", "streams:read"]}
    first = await gateway.ask("POST", PATH, body, headers=headers)
    again = await gateway.ask("POST", PATH, body, headers=headers)
    assert (first.status, again.status, first.headers["Cache-Control"]) == (201, 201, "no-store")
    assert again.json == first.json
    key = first.json
    secret = key.pop("secret")
    assert re.fullmatch("atlas_live_sk_[0-9a-f]{32}", secret)
    assert (key["scopes"], key["streams"], key["status"]) == (
        ["events:write", "streams:read"],
        ["orders-prod"],
        "active",
    )
    assert (await gateway.ask("GET", f"{PATH}/{key['id']}")).json == key
    listed = (await gateway.ask("GET", PATH)).json["data"]
    assert [one["name"] for one in listed].count("server") == 1 and all("secret" not in one for one in listed)
    other = await gateway.ask("POST", PATH, {**body, "name": "other"}, headers=headers)
    assert (other.status, other.code) == (409, "idempotency_key_reused")
    gateway.keys["server"] = secret
    assert (await gateway.ask("GET", STREAMS, key="server")).status == 200
    assert (await gateway.ask("GET", PATH, key="server")).code == "forbidden"


@pytest.mark.requirement("A-011", "A-013")
async def test_a_key_is_rotated_with_an_overlap(gateway: Gateway) -> None:
    before = await make(gateway, "before")
    rotated = await gateway.ask("POST", f"{PATH}/{before['id']}/rotate", {"overlap_seconds": 60})
    assert rotated.status == 201
    gateway.keys["after"] = rotated.json["secret"]
    for name in ("before", "after"):
        assert (await gateway.ask("GET", STREAMS, key=name)).status == 200
    shown = (await gateway.ask("GET", f"{PATH}/{before['id']}")).json
    assert (shown["status"], shown["rotated_to"]) == ("rotated", rotated.json["id"])
    at_once = await gateway.ask("POST", f"{PATH}/{rotated.json['id']}/rotate", {"overlap_seconds": 0})
    gateway.keys["newest"] = at_once.json["secret"]
    assert (await gateway.ask("GET", STREAMS, key="after")).code == "authentication_failed"
    assert (await gateway.ask("GET", STREAMS, key="newest")).status == 200
    again = await gateway.ask("POST", f"{PATH}/{before['id']}/rotate")
    assert (again.status, again.code) == (409, "key_not_active")


@pytest.mark.requirement("A-011", "A-013", "A2")
async def test_a_revocation_reaches_every_gateway(gateway: Gateway, bootstrap: str, tmp_path: Path) -> None:
    async with beside(gateway, bootstrap, tmp_path / "other") as other:
        key = await make(gateway, "leaving")
        other.keys["leaving"] = gateway.keys["leaving"]
        assert (await other.ask("GET", STREAMS, key="leaving")).status == 200
        revoked = await gateway.ask("DELETE", f"{PATH}/{key['id']}")
        answered_seconds = time.monotonic()
        assert (revoked.status, revoked.body) == (204, b"")
        assert (await gateway.ask("GET", STREAMS, key="leaving")).code == "authentication_failed"
        while (await other.ask("GET", STREAMS, key="leaving")).status != 401:
            assert time.monotonic() - answered_seconds < SECONDS_MAX
            await asyncio.sleep(0.005)
        print(f"{(time.monotonic() - answered_seconds) * 1e3:.0f} ms from the answer until the other gateway knew")
        assert (await gateway.ask("DELETE", f"{PATH}/{key['id']}")).status == 204
        assert (await gateway.ask("GET", f"{PATH}/{key['id']}")).json["status"] == "revoked"


@pytest.mark.requirement("A-011")
async def test_every_change_is_in_the_audit_log(gateway: Gateway, bootstrap: str) -> None:
    key = await make(gateway, "audited")
    await gateway.ask("POST", f"{PATH}/{key['id']}/rotate")
    await gateway.ask("DELETE", f"{PATH}/{key['id']}")
    audits = [Audit.decode(record.value) for record in read_all(bootstrap, Topic.AUDIT)]
    mine = [audit for audit in audits if audit.workspace == gateway.workspace and audit.resource == f"key/{key['id']}"]
    assert [audit.action for audit in mine] == ["key.create", "key.rotate", "key.revoke"]
    assert all(audit.actor.startswith("key_") and audit.address == "127.0.0.1" for audit in mine)


@pytest.mark.requirement("A3", "A8")
async def test_no_key_makes_a_stronger_one(gateway: Gateway) -> None:
    limited = await make(gateway, "limited", streams=["orders-prod"], scopes=["admin", "events:write"])
    for body, fields in (
        ({}, ["scopes", "streams"]),
        ({"scopes": ["events:read"], "streams": ["orders-prod"]}, ["scopes"]),
        ({"scopes": ["events:write"], "streams": ["audit-prod"]}, ["streams"]),
    ):
        refused = await gateway.ask("POST", PATH, {"name": "more", **body}, key="limited")
        assert (refused.status, refused.code, refused.fields) == (403, "forbidden", fields)
    await make(gateway, "less", maker="limited", scopes=["events:write"], streams=["orders-prod"])
    strong = await make(gateway, "strong")
    await make(gateway, "admin", scopes=["admin"])
    for name, code in (("limited", "key_not_found"), ("admin", "forbidden")):
        assert (await gateway.ask("POST", f"{PATH}/{strong['id']}/rotate", key=name)).code == code
        assert (await gateway.ask("DELETE", f"{PATH}/{strong['id']}", key=name)).code == code
    assert (await gateway.ask("GET", STREAMS, key="strong")).status == 200
    assert (await gateway.ask("POST", f"{PATH}/{limited['id']}/rotate", key="limited")).status == 201


@pytest.mark.requirement("A-008", "A-015", "A3", "A6", "A7")
async def test_a_workspace_and_an_environment_see_their_own_alone(
    gateway: Gateway, bootstrap: str, tmp_path: Path
) -> None:
    """Ids of streams, workflows, events and keys of one are as good as none in the other, for reading and changing."""
    async with beside(gateway, bootstrap, tmp_path / "other") as other:
        stream = (await gateway.ask("POST", STREAMS, {"name": "mine-alone"})).json
        workflow = {"id": "wf_mine", "name": "Mine", "url": "https://mine.example.com/in"}
        assert (await gateway.ask("POST", "/v1/workflows", workflow)).status == 201
        key = await make(gateway, "mine")
        rows: list[tuple[str, str, object, str]] = [
            ("GET", f"{STREAMS}/{stream['id']}", None, "stream_not_found"),
            ("GET", f"{STREAMS}/mine-alone", None, "stream_not_found"),
            ("PATCH", f"{STREAMS}/{stream['id']}", {"retention_days": 1}, "stream_not_found"),
            ("DELETE", f"{STREAMS}/{stream['id']}", None, "stream_not_found"),
            ("POST", STREAMS, {"name": "theirs", "default_routes": ["wf_mine"]}, "invalid_request"),
            ("GET", "/v1/workflows/wf_mine", None, "workflow_not_found"),
            ("DELETE", "/v1/workflows/wf_mine", None, "workflow_not_found"),
            ("GET", f"{PATH}/{key['id']}", None, "key_not_found"),
            ("POST", f"{PATH}/{key['id']}/rotate", {}, "key_not_found"),
            ("DELETE", f"{PATH}/{key['id']}", None, "key_not_found"),
            ("POST", "/v1/events", an_event("mine-alone"), "stream_not_found"),
        ]
        for method, path, body, code in rows:
            for refused in (await other.ask(method, path, body), await gateway.ask(method, path, body, key="test")):
                assert refused.code == code, f"{method} {path}"
        for path in (STREAMS, "/v1/workflows", PATH):
            for listed in (await other.ask("GET", path), await gateway.ask("GET", path, key="test")):
                assert not {one["id"] for one in listed.json["data"]} & {stream["id"], "wf_mine", key["id"]}
        assert (await gateway.ask("GET", STREAMS, key="mine")).json["data"] == [stream]


@pytest.mark.requirement("A-038", "A7")
async def test_streams_out_of_reach_look_absent(gateway: Gateway) -> None:
    for name in ("seen", "unseen"):
        assert (await gateway.ask("POST", STREAMS, {"name": name})).status == 201
    unseen = (await gateway.ask("GET", f"{STREAMS}/unseen")).json
    await make(gateway, "limited", streams=["seen"])
    absent = await gateway.ask("GET", f"{STREAMS}/nowhere", key="limited")
    for name in ("unseen", unseen["id"], "nowhere", "stm_01HX9Z0F8C5G3R8K2V1NQ7M4WP"):
        for method, body in (("GET", None), ("PATCH", {"retention_days": 1}), ("DELETE", None)):
            refused = await gateway.ask(method, f"{STREAMS}/{name}", body, key="limited")
            assert without_request_id(refused) == without_request_id(absent)
    sent = await gateway.ask("POST", "/v1/events", an_event("unseen"), key="limited")
    assert without_request_id(sent) == without_request_id(absent)
    listed = await gateway.ask("GET", STREAMS, key="limited")
    assert [stream["name"] for stream in listed.json["data"]] == ["seen"]
    for name in ("unseen", "new-one"):  # whether there is one is not told
        assert (await gateway.ask("POST", STREAMS, {"name": name}, key="limited")).code == "forbidden"
    assert (await gateway.ask("PATCH", f"{STREAMS}/seen", {"retention_days": 2}, key="limited")).status == 200
    headers = {"Idempotency-Key": "delete"}
    for _ in range(2):
        assert (await gateway.ask("DELETE", f"{STREAMS}/seen", key="limited", headers=headers)).status == 204


@pytest.mark.requirement("A4")
async def test_a_proxys_word_counts_where_it_is_trusted(bootstrap: str, tmp_path: Path) -> None:
    inside, outside = {"X-Forwarded-For": "203.0.113.9"}, {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    trusted = {"ATLAS_TRUSTED_PROXIES": "127.0.0.0/8", "ATLAS_VERDICT_TIMEOUT_SECONDS": "30"}
    async with a_gateway(bootstrap, tmp_path, **trusted) as gateway:
        await make(gateway, "office", allowed_ips=["203.0.113.0/24"])
        assert (await gateway.ask("GET", STREAMS, key="office", headers=inside)).status == 200
        for headers in (outside, {}):
            refused = await gateway.ask("GET", STREAMS, key="office", headers=headers)
            assert (refused.status, refused.code) == (403, "address_blocked")


@pytest.mark.requirement("A4")
async def test_anybody_elses_word_does_not(gateway: Gateway) -> None:
    await make(gateway, "office", allowed_ips=["203.0.113.0/24"])
    refused = await gateway.ask("GET", STREAMS, key="office", headers={"X-Forwarded-For": "203.0.113.9"})
    assert (refused.status, refused.code) == (403, "address_blocked")


async def test_when_a_key_was_used_is_told(bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest_gateway.identity.last_used.TELL_SECONDS", 0.05)
    async with a_gateway(bootstrap, tmp_path, ATLAS_VERDICT_TIMEOUT_SECONDS="30") as gateway:
        key = await make(gateway, "used")
        assert (await gateway.ask("GET", STREAMS, key="used")).status == 200
        used = key["last_used_at"]
        async with asyncio.timeout(SECONDS_MAX):
            while used is None:
                await asyncio.sleep(0.05)
                used = (await gateway.ask("GET", f"{PATH}/{key['id']}")).json["last_used_at"]
        assert used >= key["created_at"]
        assert (await gateway.ask("GET", STREAMS, key="used")).status == 200


def an_event(stream: str) -> dict[str, Any]:
    return {
        "stream": stream,
        "type": "order.fulfilled",
        "occurred_at": "2026-05-18T14:22:11Z",
        "data": {"n": secrets.token_hex(4)},
    }


def without_request_id(answer: Answer) -> tuple[int, str]:
    return answer.status, re.sub(r"req_\w+", "", answer.body.decode())


@pytest.mark.requirement("A-038", "A-051", "A7")
async def test_events_of_streams_out_of_reach_look_absent(gateway: Gateway) -> None:
    write(gateway, recorded_event(gateway))
    whole = await gateway.ask("GET", f"/v1/events/{EVENT_ID}")
    assert whole.status == 200
    await make(gateway, "in reach", streams=[whole.json["stream"]])
    await make(gateway, "out of reach", streams=["elsewhere"])
    assert (await gateway.ask("GET", f"/v1/events/{EVENT_ID}", key="in reach")).json == whole.json
    absent = await gateway.ask("GET", f"/v1/events/{OTHER_ID}", key="out of reach")
    hidden = await gateway.ask("GET", f"/v1/events/{EVENT_ID}", key="out of reach")
    assert (hidden.status, hidden.code) == (404, "event_not_found")
    assert without_request_id(hidden) == without_request_id(absent)
