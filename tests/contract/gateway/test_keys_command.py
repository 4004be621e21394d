"""`atlas keys`: the same keys as the API's, made by who holds the master key."""

import asyncio
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from domain.security.api_tokens import TOKEN
from schemas.entities import KeyKind
from tests.contract.gateway.conftest import MASTER_KEY, Gateway

STREAMS = "/v1/event-streams"


async def run(gateway: Gateway, *arguments: str) -> Result:
    """`atlas keys …` in a thread, as it runs a loop of its own."""
    settings = gateway.settings
    env = {"ATLAS_KAFKA": settings.kafka, "ATLAS_MASTER_KEY": MASTER_KEY.hex(), "ATLAS_HOME": str(settings.home)}
    whole = ["keys", arguments[0], "--workspace", gateway.workspace, *arguments[1:]]
    return await asyncio.to_thread(CliRunner(env=env).invoke, main, whole)


async def answer(gateway: Gateway, *arguments: str) -> Any:
    result = await run(gateway, *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.requirement("A-011")
async def test_a_key_from_its_making_to_its_end(gateway: Gateway) -> None:
    made = await answer(gateway, "create", "--name", "server", "--scope", "streams:read", "--stream", "orders-prod")
    gateway.keys["server"] = made["secret"]
    assert (await gateway.ask("GET", STREAMS, key="server")).status == 200
    assert (await gateway.ask("POST", STREAMS, {"name": "orders-prod"}, key="server")).code == "forbidden"
    rotated = await answer(gateway, "rotate", made["id"], "--overlap-seconds", "0")
    gateway.keys["rotated"] = rotated["secret"]
    assert (await gateway.ask("GET", STREAMS, key="rotated")).status == 200
    await gateway.clients.control.catch_up(30)
    assert (await gateway.ask("GET", STREAMS, key="server")).status == 401
    await answer(gateway, "revoke", rotated["id"])
    await gateway.clients.control.catch_up(30)
    assert (await gateway.ask("GET", STREAMS, key="rotated")).status == 401
    listed = {key["id"]: key for key in await answer(gateway, "list")}
    assert listed[made["id"]]["rotated_to"] == rotated["id"] and "revoked_at" in listed[rotated["id"]]
    assert not any("secret" in key for key in listed.values())


@pytest.mark.requirement("W-011", "S-057", "B-003")
@pytest.mark.parametrize(
    ("kind", "stored"), [("access-token", KeyKind.ACCESS_TOKEN), ("spine", KeyKind.SPINE), ("org", KeyKind.ORG)]
)
async def test_keys_of_other_surfaces(gateway: Gateway, kind: str, stored: KeyKind) -> None:
    made = await answer(gateway, "create", "--name", "other", "--kind", kind, "--environment", "test")
    assert TOKEN.fullmatch(made["secret"])
    await gateway.clients.control.catch_up(30)
    key = gateway.clients.control.view.keys[made["id"]]
    assert (key.key_kind, key.environment, key.workspace) == (stored, "test", gateway.workspace)
    gateway.keys["other"] = made["secret"]
    assert (await gateway.ask("GET", STREAMS, key="other")).code == "authentication_failed"
    assert made["id"] not in {key["id"] for key in (await gateway.ask("GET", "/v1/keys", key="test")).json["data"]}
    assert (await gateway.ask("DELETE", f"/v1/keys/{made['id']}", key="test")).code == "key_not_found"


# (arguments, a part of what is said)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["revoke", "key_nowhere"], "There is no key with this id"),
        (["rotate", "key_nowhere"], "There is no key with this id"),
        (["create", "--name", "x", "--kind", "publishable"], "must name the streams"),
        (["create", "--name", "x", "--allowed-ip", "10.0.0.1/8"], "--allowed-ip"),
        (["create", "--name", "x", "--stream", "No"], "--stream"),
        (["create", "--name", "x", "--expires", "2001-01-01T00:00:00Z"], "--expires"),
    ],
)
async def test_what_is_refused(gateway: Gateway, arguments: list[str], said: str) -> None:
    result = await run(gateway, *arguments)
    assert result.exit_code != 0
    assert said in result.output
