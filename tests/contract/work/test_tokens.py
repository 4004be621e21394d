"""Tokens: minted by sessions alone, shown once, limited in scope, network and time, revoked at once, told of."""

import pytest

from tests.support.work_installation import WorkSurface

NEW = {"name": "Reporting", "scopes": ["tasks:read"]}


@pytest.mark.requirement("W-010", "W-011", "W-013", "W-015", "W-018", "W-017")
async def test_a_token_from_its_making_to_its_end(work: WorkSurface) -> None:
    minted = await work.ask("POST", "/v1/tokens", NEW, key="session")
    assert minted.status == 201 and minted.headers["Cache-Control"] == "no-store"
    token = minted.json
    assert token["token"].startswith("atlas_pat_") and len(token["token"]) == 42
    assert (token["status"], token["scopes"], token["allowedIps"]) == ("active", ["tasks:read"], [])
    work.keys["new"] = token["token"]
    assert (await work.ask("GET", "/v1/tasks", key="new")).status == 200
    assert (await work.ask("GET", "/v1/projects", key="new")).code == "insufficient_scope"
    shown = await work.ask("GET", f"/v1/tokens/{token['id']}", key="session")
    assert shown.json == {name: value for name, value in token.items() if name != "token"}
    listed = (await work.ask("GET", "/v1/tokens", key="session")).json["items"]
    assert token["id"] in [one["id"] for one in listed] and all("token" not in one for one in listed)
    assert (await work.ask("DELETE", f"/v1/tokens/{token['id']}", key="session")).status == 204
    assert (await work.ask("GET", "/v1/tasks", key="new")).code == "unauthorized"
    assert (await work.ask("GET", f"/v1/tokens/{token['id']}", key="session")).json["status"] == "revoked"
    told = (await work.ask("GET", "/v1/activity?actor=user:usr_1")).json["items"]
    assert [entry["action"] for entry in told] == ["key.create", "key.revoke"]


@pytest.mark.requirement("W-016", "W-028")
async def test_a_token_of_another_network(work: WorkSurface) -> None:
    for allowed, expected in ((["203.0.113.0/24"], 403), (["127.0.0.0/8"], 200)):
        minted = await work.made("/v1/tokens", {**NEW, "allowedIps": allowed}, key="session")
        work.keys["new"] = minted["token"]
        answer = await work.ask("GET", "/v1/tasks", key="new")
        assert answer.status == expected
        if expected == 403:
            assert answer.code == "pat-ip-blocked"
            assert answer.json["type"] == "https://api.atlas-todo.com/errors/pat-ip-blocked"


async def test_a_rotated_token_holds_beside_its_successor(work: WorkSurface) -> None:
    first = await work.made("/v1/tokens", NEW, key="session")
    second = await work.made(f"/v1/tokens/{first['id']}/rotate", {"overlapSeconds": 3_600}, key="session")
    assert second["scopes"] == first["scopes"] and second["token"] != first["token"]
    for token in (first, second):
        work.keys["new"] = token["token"]
        assert (await work.ask("GET", "/v1/tasks", key="new")).status == 200
    again = await work.ask("POST", f"/v1/tokens/{first['id']}/rotate", key="session")
    assert (again.status, again.code) == (409, "key_not_active")


@pytest.mark.requirement("W-012", "W-014")
async def test_sessions_may_all_and_tokens_mint_none(work: WorkSurface) -> None:
    assert (await work.ask("POST", "/v1/projects", {"name": "x"}, key="session")).status == 201
    for method, path in (("POST", ""), ("GET", ""), ("DELETE", "/key_1"), ("POST", "/key_1/rotate"), ("GET", "/key_1")):
        refused = await work.ask(method, f"/v1/tokens{path}", {} if method == "POST" else None)
        assert (refused.status, refused.code) == (403, "insufficient_scope")
        assert refused.json["missingScope"] == ("tokens:read" if method == "GET" else "tokens:write")
        assert "session" in refused.json["detail"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["name", "scopes"]),
        ({"name": "x", "scopes": []}, ["scopes"]),
        ({"name": "x", "scopes": ["tasks:read", "tasks:read", "admin", 5]}, [f"scopes[{n}]" for n in (1, 2, 3)]),
        ({**NEW, "allowedIps": ["10.0.0.1/8", "nowhere"]}, ["allowedIps[0]", "allowedIps[1]"]),
        ({**NEW, "expiresAt": "2020-01-01T00:00:00Z"}, ["expiresAt"]),
        ({**NEW, "expiresAt": "soon", "environment": "test"}, ["environment", "expiresAt"]),
    ],
)
async def test_tokens_that_are_none(work: WorkSurface, body: dict[str, object], fields: list[str]) -> None:
    answer = await work.ask("POST", "/v1/tokens", body, key="session")
    assert (answer.status, answer.fields) == (400, fields)


async def test_keys_of_other_surfaces_are_not_here(work: WorkSurface) -> None:
    live = next(key for key in work.clients.control.view.keys_of(work.workspace, "live") if key.name == "live")
    for method in ("GET", "DELETE"):
        answer = await work.ask(method, f"/v1/tokens/{live.id}", key="session")
        assert (answer.status, answer.code) == (404, "token_not_found")
