"""Idempotency-Key: the first 2xx again, byte for byte, whatever the body says; free after an error."""

import asyncio

import pytest

from ingest_gateway.surfaces.documents.operations import operations_of
from ingest_gateway.surfaces.shared.contract import load_document
from tests.support.work_installation import WorkSurface


def key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": text}


@pytest.mark.requirement("W-040", "W-041", "W-042", "W-043", "X-04", "X-35")
async def test_the_first_answer_again(work: WorkSurface) -> None:
    first = await work.ask("POST", "/v1/projects", {"name": "One"}, headers=key("0b6b2d0e"))
    same = await work.ask("POST", "/v1/projects", {"name": "One"}, headers=key("0b6b2d0e"))
    quoted = await work.ask("POST", "/v1/projects", {"name": "Another"}, headers=key('"0b6b2d0e"'))
    for again in (same, quoted):
        assert (again.status, again.body, again.headers["ETag"]) == (201, first.body, first.headers["ETag"])
    assert len((await work.ask("GET", "/v1/projects")).json["items"]) == 1
    project_id = first.json["id"]
    await work.ask("PATCH", f"/v1/projects/{project_id}", {"name": "Changed since"})
    assert (await work.ask("POST", "/v1/projects", {"name": "One"}, headers=key("0b6b2d0e"))).body == first.body


ELSEWHERE = {"/v1/ai/plan", "/v1/ai/summarize", "/v1/webhooks/{webhook}/deliveries/{delivery}/replay"}
"""What needs a language model or a delivery is asked twice in test_ai.py and test_webhooks.py."""


@pytest.mark.requirement("W-040", "W-041")
async def test_every_post_gives_its_first_answer_again(work: WorkSurface) -> None:
    project_id = await work.a_project()
    webhook = await work.made("/v1/webhooks", {"url": "https://example.com/hook", "events": ["task.created"]})
    token = await work.made("/v1/tokens", {"name": "one", "scopes": ["tasks:read"]}, key="session")
    ids = {"webhook": webhook["id"], "token": token["id"]}
    posts: dict[str, object] = {
        "/v1/projects": {"name": "Again"},
        "/v1/tasks": {"projectId": project_id, "title": "Again"},
        "/v1/webhooks": {"url": "https://example.com/again", "events": ["task.deleted"]},
        "/v1/webhooks/{webhook}/test": None,
        "/v1/webhooks/{webhook}/reactivate": None,
        "/v1/webhooks/{webhook}/rotate-secret": {},
        "/v1/tokens": {"name": "again", "scopes": ["tasks:read"]},
        "/v1/tokens/{token}/rotate": {},
    }
    assert posts.keys() | ELSEWHERE == {
        one.path for one in operations_of(load_document("work")) if one.method == "post"
    }
    for number, (path, body) in enumerate(posts.items()):
        answers = [
            await work.ask("POST", path.format(**ids), body, key="session", headers=key(f"again-{number}"))
            for _ in range(2)
        ]
        assert answers[0].status in (200, 201, 202), (path, answers[0].body)
        assert (answers[1].status, answers[1].body) == (answers[0].status, answers[0].body), path


@pytest.mark.requirement("W-041", "X-35")
async def test_a_key_is_free_after_an_error(work: WorkSurface) -> None:
    task = {"title": "x", "projectId": "prj_01JV2X3Y4Z5A6B7C8D9E0F1G2H"}
    for body in (task, {}):
        refused = await work.ask("POST", "/v1/tasks", body, headers=key("k"))
        assert refused.status in (400, 422)
    made = await work.ask("POST", "/v1/tasks", {**task, "projectId": await work.a_project()}, headers=key("k"))
    assert made.status == 201


async def test_a_key_of_another_operation_is_refused(work: WorkSurface) -> None:
    await work.ask("POST", "/v1/projects", {"name": "One"}, headers=key("k"))
    body = {"title": "x", "projectId": await work.a_project()}
    refused = await work.ask("POST", "/v1/tasks", body, headers=key("k"))
    assert (refused.status, refused.code) == (409, "idempotency_key_reused")


async def test_keys_that_are_none(work: WorkSurface) -> None:
    for text in ("x" * 256, "a b", '"'):
        refused = await work.ask("POST", "/v1/projects", {"name": "x"}, headers=key(text))
        assert (refused.status, refused.fields) == (400, ["Idempotency-Key"])


@pytest.mark.requirement("W-041")
async def test_many_at_once_make_one(work: WorkSurface) -> None:
    answers = await asyncio.gather(
        *(work.ask("POST", "/v1/projects", {"name": f"{n}"}, headers=key("k")) for n in range(20))
    )
    assert {answer.status for answer in answers} == {201} and len({answer.body for answer in answers}) == 1


@pytest.mark.requirement("W-041", "W-011")
async def test_a_minted_token_is_shown_again_under_its_key(work: WorkSurface) -> None:
    body = {"name": "x", "scopes": ["tasks:read"]}
    first = await work.ask("POST", "/v1/tokens", body, key="session", headers=key("k"))
    again = await work.ask("POST", "/v1/tokens", body, key="session", headers=key("k"))
    assert first.status == 201 and again.body == first.body
