"""`/v1/event-streams` on the real gateway: what is made, shown, changed, refused, and repeated without harm."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from schemas.ids import ULID_PATTERN
from tests.contract.gateway.conftest import Gateway, a_gateway

PATH = "/v1/event-streams"
AUDIT = {
    "name": "audit-prod",
    "description": "Production audit log stream",
    "retention_days": 90,
    "default_routes": ["wf_compliance_archive"],
}
ARCHIVE = {"id": "wf_compliance_archive", "name": "Compliance archive", "url": "https://archive.example.com/in"}


@pytest.mark.requirement("A-016", "A-021", "A-022", "A-023", "A-024", "A-025")
async def test_the_documents_example_is_made_and_shown(gateway: Gateway) -> None:
    assert (await gateway.ask("POST", "/v1/workflows", ARCHIVE)).status == 201
    made = await gateway.ask("POST", PATH, AUDIT)
    assert made.status == 201, made.body
    stream = made.json
    assert list(stream) == [
        *("id", "object", "name", "description", "retention_days", "default_routes", "created_at", "workspace_id")
    ]
    assert ULID_PATTERN.fullmatch(stream["id"].removeprefix("stm_"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stream["created_at"])
    assert stream | AUDIT == stream
    assert (stream["object"], stream["workspace_id"]) == ("event_stream", gateway.workspace)
    for name_or_id in (stream["name"], stream["id"]):
        assert (await gateway.ask("GET", f"{PATH}/{name_or_id}")).json == stream


@pytest.mark.requirement("A-019", "A-020")
async def test_what_is_left_out_has_its_default(gateway: Gateway) -> None:
    made = (await gateway.ask("POST", PATH, {"name": "orders-prod"})).json
    assert (made["description"], made["retention_days"], made["default_routes"]) == (None, 14, [])


@pytest.mark.requirement("A-015")
async def test_streams_belong_to_one_environment(gateway: Gateway) -> None:
    await gateway.ask("POST", PATH, {"name": "orders-prod"})
    assert (await gateway.ask("GET", f"{PATH}/orders-prod", key="test")).code == "stream_not_found"
    assert (await gateway.ask("POST", PATH, {"name": "orders-prod"}, key="test")).status == 201
    assert len((await gateway.ask("GET", PATH, key="test")).json["data"]) == 1


@pytest.mark.requirement("A-026")
async def test_a_name_is_taken_once(gateway: Gateway) -> None:
    assert (await gateway.ask("POST", PATH, {"name": "orders-prod"})).status == 201
    again = await gateway.ask("POST", PATH, {"name": "orders-prod"})
    assert (again.status, again.code) == (409, "stream_exists")
    reserved = await gateway.ask("POST", PATH, {"name": "spine"})
    assert (reserved.status, reserved.code) == (409, "stream_exists")


@pytest.mark.requirement("A-026")
async def test_streams_are_listed_changed_and_deleted(gateway: Gateway) -> None:
    await gateway.ask("POST", "/v1/workflows", ARCHIVE)
    for name in ("first", "second"):
        await gateway.ask("POST", PATH, {"name": name, "description": "as it was"})
    listed = (await gateway.ask("GET", PATH)).json
    assert {stream["name"] for stream in listed.pop("data")} == {"first", "second"}
    assert listed == {"object": "list", "has_more": False, "next_cursor": None}

    changes = {"retention_days": 30, "default_routes": ["wf_compliance_archive"]}
    changed = await gateway.ask("PATCH", f"{PATH}/first", changes)
    assert changed.status == 200
    assert changed.json | changes | {"description": "as it was"} == changed.json
    assert (await gateway.ask("GET", f"{PATH}/first")).json == changed.json
    cleared = await gateway.ask("PATCH", f"{PATH}/{changed.json['id']}", {"description": None})
    assert cleared.json["description"] is None and cleared.json["retention_days"] == 30

    assert (await gateway.ask("DELETE", f"{PATH}/first")).status == 204
    assert (await gateway.ask("GET", f"{PATH}/first")).code == "stream_not_found"
    assert (await gateway.ask("DELETE", f"{PATH}/first")).code == "stream_not_found"
    assert (await gateway.ask("POST", PATH, {"name": "first"})).status == 409


@pytest.mark.requirement("A-021")
async def test_an_unknown_workflow_is_named(gateway: Gateway) -> None:
    refused = await gateway.ask("POST", PATH, {"name": "orders-prod", "default_routes": ["wf_nowhere"]})
    assert (refused.status, refused.code) == (400, "invalid_request")
    assert [field.split("[")[0].split(".")[0] for field in refused.fields] == ["default_routes"]


@pytest.mark.requirement("A-037", "A-072")
async def test_all_that_is_wrong_is_told_at_once(gateway: Gateway) -> None:
    wrong = {"name": "Orders", "retention_days": 0, "default_routes": "wf_x", "description": 7, "colour": "red"}
    refused = await gateway.ask("POST", PATH, wrong)
    assert (refused.status, refused.code) == (400, "invalid_request")
    assert sorted(refused.fields) == ["colour", "default_routes", "description", "name", "retention_days"]


@pytest.mark.requirement("A-029", "A-088")
async def test_a_key_makes_a_repeat_safe(gateway: Gateway) -> None:
    headers = {"Idempotency-Key": "6f1a3b9c-0d29-4d6b-9c0e-1f4b7a2e88aa"}
    first = await gateway.ask("POST", PATH, {"name": "orders-prod"}, headers=headers)
    again = await gateway.ask("POST", PATH, {"name": "orders-prod"}, headers=headers)
    assert (again.status, again.body) == (first.status, first.body) == (201, first.body)
    other = await gateway.ask("POST", PATH, {"name": "audit-prod"}, headers=headers)
    assert other.status == 409


@pytest.mark.parametrize("key", ["", "two words", "k" * 256, '"unclosed'])
@pytest.mark.requirement("A-028", "S7")
async def test_a_key_that_is_none_is_refused(gateway: Gateway, key: str) -> None:
    refused = await gateway.ask("POST", PATH, {"name": "orders-prod"}, headers={"Idempotency-Key": key})
    assert (refused.status, refused.fields) == (400, ["Idempotency-Key"])


@pytest.mark.requirement("F35")
async def test_without_a_verdict_the_answer_is_503_and_a_repeat_finds_what_was_done(
    bootstrap: str, tmp_path: Path
) -> None:
    headers = {"Idempotency-Key": "once"}
    async with a_gateway(bootstrap, tmp_path, ATLAS_VERDICT_TIMEOUT_SECONDS="0.5") as gateway:
        gateway.control.hold()
        late = await gateway.ask("POST", PATH, {"name": "orders-prod"}, headers=headers)
        assert (late.status, late.headers["Retry-After"]) == (503, "1")
        assert "same Idempotency-Key is safe" in late.json["error"]["message"]
        gateway.control.go_on()
        answer = late
        async with asyncio.timeout(30):
            while answer.status == 503:
                answer = await gateway.ask("POST", PATH, {"name": "orders-prod"}, headers=headers)
        assert answer.status == 201
        assert len((await gateway.ask("GET", PATH)).json["data"]) == 1


@pytest.mark.parametrize(
    ("key", "method", "path", "status", "code"),
    [
        (None, "GET", PATH, 401, "authentication_failed"),
        (None, "POST", PATH, 401, "authentication_failed"),
        ("publishable", "GET", PATH, 403, "forbidden"),
        ("publishable", "POST", PATH, 403, "forbidden"),
        ("publishable", "DELETE", f"{PATH}/orders-prod", 403, "forbidden"),
        ("live", "PUT", f"{PATH}/orders-prod", 405, "method_not_allowed"),
        ("live", "PATCH", f"{PATH}/orders-prod", 404, "stream_not_found"),
        ("live", "GET", f"{PATH}/stm_01HX9Z0F8C5G3R8K2V1NQ7M4WP", 404, "stream_not_found"),
    ],
)
@pytest.mark.requirement("A-012", "A-013", "A-074")
async def test_who_may_not_and_what_is_not_there(
    gateway: Gateway, key: str | None, method: str, path: str, status: int, code: str
) -> None:
    body: Any = {} if method in ("POST", "PATCH") else None
    refused = await gateway.ask(method, path, body, key=key)
    assert (refused.status, refused.code) == (status, code)
