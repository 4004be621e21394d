"""Every error as the document has it: an RFC 9457 problem that says what is wrong, where, and what to do."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY

from operations import clock
from operations.settings import Settings
from schemas.records import Shares
from schemas.topics import Topic
from tests.support.kafka_topics import produce, read_all
from tests.support.work_installation import Answer, WorkInstallation, WorkSurface

TYPES = "https://api.atlas-todo.com/errors/"
NO_TASK = "tsk_01JV2X41AB2C3D4E5F6G7H8J9K"


def problem(answer: Answer) -> tuple[int, str]:
    """Status and code of a problem that is whole."""
    body = answer.json
    assert body["type"] == TYPES + body["title"].replace("_", "-")
    assert body["status"] == answer.status
    assert body["requestId"] == answer.headers["X-Request-Id"] and body["requestId"].startswith("req_")
    assert body["detail"].endswith(".")
    return answer.status, answer.code


@pytest.mark.requirement("W-023", "W-024", "W-026", "W-027", "X-31")
async def test_who_may_not(work: WorkSurface) -> None:
    for written in (None, "Bearer", "Bearer atlas_pat_00000000000000000000000000000000", "Bearer x.y.z"):
        headers = {} if written is None else {"Authorization": written}
        answer = await work.ask("GET", "/v1/tasks", key=None, headers=headers)
        assert problem(answer) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    refused = await work.ask("POST", "/v1/tasks", {}, key="read_only_pat")
    assert problem(refused) == (403, "insufficient_scope")
    assert refused.json | {"requestId": ""} == {
        "type": "https://api.atlas-todo.com/errors/insufficient-scope",
        "title": "insufficient_scope",
        "status": 403,
        "detail": "PAT is missing the 'tasks:write' scope.",
        "missingScope": "tasks:write",
        "requestId": "",
    }
    for key in ("live", "spine", "burn", "publishable"):
        assert problem(await work.ask("GET", "/v1/tasks", key=key)) == (401, "unauthorized")


@pytest.mark.requirement("W-025", "J15", "W-050")
@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"titel": "x"}, ["titel", "title"]),
        ({"title": None}, ["title"]),
        ({"title": 5, "priority": True, "dueOn": 5, "dependsOn": "x"}, ["title", "priority", "dueOn", "dependsOn"]),
        ({"title": "", "description": "x" * 20_001}, ["title", "description"]),
        ({"title": "x" * 501}, ["title"]),
        ({"title": " \t"}, ["title"]),
        ({"title": "a\u0000b"}, ["title"]),
        ({"title": "x", "priority": "high"}, ["priority"]),
        ({"title": "x", "status": "OPEN"}, ["status"]),
        ({"title": "x", "dueOn": "2026-05-01"}, ["dueOn"]),
        ({"title": "x", "dueOn": "2026-02-30T00:00:00Z"}, ["dueOn"]),
        ({"title": "x", "dependsOn": [NO_TASK, NO_TASK, 5, None, "tsk_1"]}, [f"dependsOn[{n}]" for n in (1, 2, 3, 4)]),
        ({"title": "x", "dependsOn": [NO_TASK] * 101}, ["dependsOn"]),
        ({"title": "x", "assigneeId": ""}, ["assigneeId"]),
        ({"title": "x", "projectId": "nope"}, ["projectId"]),
        ({"title": "x", "version": 3, "id": "mine"}, ["version", "id"]),
    ],
)
async def test_every_field_at_fault_is_named(work: WorkSurface, fields: dict[str, Any], at_fault: list[str]) -> None:
    body = {"projectId": "prj_01JV2X3Y4Z5A6B7C8D9E0F1G2H", **fields}
    answer = await work.ask("POST", "/v1/tasks", body)
    assert problem(answer) == (400, "invalid_request")
    assert sorted(answer.fields) == sorted(at_fault)
    if "projectId" not in fields and "title" in fields and set(fields) <= {"title", "priority", "status", "dueOn"}:
        patched = await work.ask("PATCH", f"/v1/tasks/{NO_TASK}", fields)
        assert problem(patched) == (400, "invalid_request") and sorted(patched.fields) == sorted(at_fault)


@pytest.mark.requirement("W-025", "J15")
async def test_an_item_sent_back_whole_is_told_what_to_leave_out(work: WorkSurface) -> None:
    task = await work.made("/v1/tasks", {"projectId": await work.a_project(), "title": "One"})
    refused = await work.ask("PATCH", f"/v1/tasks/{task['id']}", task)
    assert problem(refused) == (400, "invalid_request")
    told = {error["field"]: error["message"] for error in refused.json["errors"]}
    assert told.keys() == {"id", "projectId", "version", "createdAt", "updatedAt"} and "If-Match" in told["version"]


@pytest.mark.requirement("J16", "W-025")
async def test_a_thousand_faults_are_told_in_twenty(work: WorkSurface) -> None:
    answer = await work.ask("POST", "/v1/tasks", {f"wrong{number}": 1 for number in range(5_000)})
    assert problem(answer) == (400, "invalid_request")
    assert len(answer.json["errors"]) == 21
    assert answer.json["errors"][-1] == {"field": "", "message": "and 4982 more"}


@pytest.mark.requirement("W-023", "W-025")
async def test_bodies_that_are_none(work: WorkSurface) -> None:
    for body in (b"", b"{", b"[]", b"null", b'{"title": "\xff"}', b'{"title": 1, "title": 2}', b"[" * 100):
        assert problem(await work.ask("POST", "/v1/tasks", body)) == (400, "invalid_request")
    large = b'{"title": "' + b"x" * 1_048_576 + b'"}'
    assert problem(await work.ask("POST", "/v1/tasks", large)) == (413, "payload_too_large")
    text = await work.ask("POST", "/v1/tasks", b"{}", headers={"Content-Type": "text/plain"})
    assert problem(text) == (415, "unsupported_media_type")


@pytest.mark.requirement("W-023", "W-029")
async def test_addresses_that_are_none(work: WorkSurface) -> None:
    assert problem(await work.ask("GET", "/v1/nothing")) == (404, "not_found")
    wrong = await work.ask("PUT", "/v1/tasks", {})
    assert problem(wrong) == (405, "method_not_allowed") and wrong.headers["Allow"]
    for path, code in {
        f"/v1/tasks/{NO_TASK}": "task_not_found",
        "/v1/tasks/1": "task_not_found",
        "/v1/projects/prj_01JV2X3Y4Z5A6B7C8D9E0F1G2H": "project_not_found",
        "/v1/webhooks/whk_1": "webhook_not_found",
        "/v1/webhooks/whk_1/deliveries": "webhook_not_found",
    }.items():
        assert problem(await work.ask("GET", path)) == (404, code)


async def test_queries_that_are_none(work: WorkSurface) -> None:
    for query, fields in {
        "limit=0": ["limit"],
        "limit=101": ["limit"],
        "limit=five": ["limit"],
        "cursor=eyJpZCI6Li4ufQ==": ["cursor"],
        "status=OPEN&priority=NONE&dueAfter=soon": ["status", "priority", "dueAfter"],
        "offset=5": ["offset"],
        "limit=5&limit=6": ["limit"],
    }.items():
        answer = await work.ask("GET", f"/v1/tasks?{query}")
        assert problem(answer) == (400, "invalid_request") and answer.fields == fields


@pytest.mark.requirement("S10", "W-030", "W-048")
async def test_if_match(work: WorkSurface) -> None:
    """Each form of the header, on a task of version 2: what the answer is, and the version then."""
    project_id = await work.a_project()
    task = await work.made("/v1/tasks", {"projectId": project_id, "title": "One"})
    path, version = f"/v1/tasks/{task['id']}", 2
    await work.ask("PATCH", path, {"title": "Two"})
    for written, status in {
        None: 200,
        "*": 200,
        "{now}": 200,
        '"{now}"': 200,
        '"1", "{now}"': 200,
        "1": 409,
        '"1"': 409,
        'W/"{now}"': 200,  # nginx, when it compresses
        '"{now}-gzip"': 200,  # Apache's mod_deflate, Caddy
        '"{now};gzip"': 200,
        '"{now}--gzip"': 200,  # Jetty
        '"{now}-br"': 200,
        'W/"{now}-zstd"': 200,
        'W/"1", W/"{now}"': 200,
        'W/"1"': 409,
        '"1-gzip"': 409,
        'w/"{now}"': 400,  # RFC 9110, 8.8.3: the W is a capital
        "W/{now}": 400,
        '"{now}-"': 400,
        '"{now}-5"': 400,
        "9223372036854775808": 409,
        "0": 409,
        '"latest"': 400,
        "-1": 400,
        "": 400,
        "1.5": 400,
    }.items():
        headers = {} if written is None else {"If-Match": written.replace("{now}", str(version))}
        answer = await work.ask("PATCH", path, {"title": f"{written} {version}"}, headers=headers)
        assert answer.status == status, written
        if status == 200:
            version += 1
            assert answer.json["version"] == version
        elif status == 409:
            assert problem(answer) == (409, "version_conflict") and answer.json["currentVersion"] == version
        else:
            assert problem(answer) == (400, "invalid_request") and answer.fields == ["If-Match"]
    deleted = await work.ask("DELETE", path, headers={"If-Match": 'W/"1"'})
    assert problem(deleted) == (409, "version_conflict")
    assert (await work.ask("DELETE", path, headers={"If-Match": f'W/"{version}"'})).status == 204
    project = f"/v1/projects/{project_id}"
    renamed = await work.ask("PATCH", project, {"name": "Q4"}, headers={"If-Match": '"1-gzip"'})
    assert renamed.status == 200 and renamed.json["version"] == 2
    again = await work.ask("PATCH", project, {"name": "Q5"}, headers={"If-Match": '"1-gzip"'})
    assert problem(again) == (409, "version_conflict")


@pytest.mark.requirement("W-031", "W-050")
async def test_rules(work: WorkSurface) -> None:
    project_id = await work.a_project()
    first = await work.made("/v1/tasks", {"projectId": project_id, "title": "One"})
    body = {"projectId": project_id, "title": "Two", "dependsOn": [first["id"]]}
    second = await work.made("/v1/tasks", body)
    circle = await work.ask("PATCH", f"/v1/tasks/{first['id']}", {"dependsOn": [second["id"]]})
    assert problem(circle) == (422, "cyclic_dependency") and circle.fields == ["dependsOn"]
    itself = await work.ask("PATCH", f"/v1/tasks/{first['id']}", {"dependsOn": [first["id"]]})
    assert problem(itself) == (422, "cyclic_dependency")
    held = await work.ask("DELETE", f"/v1/tasks/{first['id']}")
    assert problem(held) == (422, "task_has_dependents")
    moved = await work.ask("PATCH", f"/v1/tasks/{first['id']}", {"projectId": project_id})
    assert problem(moved) == (400, "invalid_request") and moved.fields == ["projectId"]


def told_gateways(kafka: str) -> set[tuple[str, ...]]:
    """Who has shares in the buckets, as each partition of `quotas` said last."""
    last: dict[int, tuple[str, ...]] = {}
    for record in read_all(kafka, Topic.QUOTAS):
        if record.value is not None and not (shares := Shares.decode(record.value)).bucket:
            last[record.partition] = tuple(shares.gateways)
    return set(last.values())


def is_alone(kafka: str, before: set[tuple[str, ...]]) -> bool:
    """By what is told of gateways on the log."""
    told = told_gateways(kafka)
    return len(told) == 1 and not told & before


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 it is asked
            await asyncio.sleep(0.1)


async def until_quotas_are_read(settings: Settings) -> None:
    """By this process's newest gateway, which counts one gateway before it has read of any, and then for a while those
    that have left. So each partition names more than all before it, and in the end the one that there is.
    """
    [alone] = told_gateways(settings.kafka)

    def name(partition: int, gateways: Sequence[str]) -> None:
        shares = Shares(bucket="", gateways=list(gateways), dealt_ms=clock.now_ms())
        produce(settings.kafka, Topic.QUOTAS, shares.encode(), key=b"", partition=partition)

    def counts(gateways: int) -> bool:
        return REGISTRY.get_sample_value("atlas_rate_limit_gateways") == gateways

    async def until_counted(partition: int, gateways: Sequence[str]) -> None:
        """Named again while it is not counted: the control process names its own to every partition meanwhile."""
        async with asyncio.timeout(60):
            while True:
                name(partition, gateways)
                for _ in range(20):
                    if counts(len(gateways)):
                        return
                    await asyncio.sleep(0.02)

    for partition in range(settings.partitions):
        await until_counted(partition, [*alone, *(f"more-{number}" for number in range(20 + partition))])
    for partition in range(settings.partitions):
        name(partition, alone)
    await until(partial(counts, 1))


@pytest.mark.requirement("W-032", "W-034", "W-035", "W-036", "W-037", "W-038", "W-039", "X-28", "X-32")
async def test_limits(work: WorkSurface, installation: WorkInstallation) -> None:
    """Each class has its own bucket; the document's headers are there on every answer."""
    overrides = f'{{"{work.workspace}": {{"read": 5, "write": 2}}}}'
    more = {"ATLAS_RATE_LIMITS": "on", "PUBLIC_API_RATE_OVERRIDES": overrides}
    before = told_gateways(work.settings.kafka)
    async with installation.surface(**more) as limited:
        await until(lambda: is_alone(work.settings.kafka, before))  # another test's gateway counts until it has left
        await until_quotas_are_read(limited.settings)
        read = await limited.ask("GET", "/v1/tasks")
        assert (read.headers["X-RateLimit-Limit"], read.headers["X-RateLimit-Remaining"]) == ("300", "299")
        made = await limited.ask("POST", "/v1/projects", {"name": "x"})
        assert (made.status, made.headers["X-RateLimit-Limit"]) == (201, "60")
        assert made.headers["X-RateLimit-Remaining"] == "59"
        limited.keys = work.keys
        answers = [await limited.ask("GET", "/v1/tasks") for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 5 + [429]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0"]
        assert problem(answers[-1]) == (429, "rate_limit_exceeded")
        headers = answers[-1].headers
        assert int(headers["Retry-After"]) >= 1 and headers["X-RateLimit-Remaining"] == "0"
        assert {"X-RateLimit-Limit", "X-RateLimit-Reset"} <= set(headers)
        writes = [await limited.ask("POST", "/v1/projects", {"name": "x"}) for _ in range(3)]
        assert [answer.status for answer in writes] == [201, 201, 429]


@pytest.mark.requirement("W-033", "F37")
async def test_without_a_decision_it_is_safe_to_retry(work: WorkSurface, installation: WorkInstallation) -> None:
    """The control process is paused: 503, and a repeat under the key finds what it decided then."""
    project_id = await work.a_project()
    control = installation.processors["control"]
    body = {"projectId": project_id, "title": "Once"}
    async with installation.surface(ATLAS_VERDICT_TIMEOUT_SECONDS="0.3") as hasty:
        hasty.keys = work.keys
        control.pause()
        try:
            late = await hasty.ask("POST", "/v1/tasks", body, headers={"Idempotency-Key": "k-late"})
        finally:
            control.resume()
        assert problem(late) == (503, "unavailable") and late.headers["Retry-After"] == "1"
    first = await work.ask("POST", "/v1/tasks", body, headers={"Idempotency-Key": "k-late"})
    again = await work.ask("POST", "/v1/tasks", body, headers={"Idempotency-Key": "k-late"})
    assert first.status == 201 and again.body == first.body
    assert [task["id"] for task in (await work.ask("GET", "/v1/tasks")).json["items"]] == [first.json["id"]]
