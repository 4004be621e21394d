"""Two tenants on one gateway: what one does, the other neither sees, nor changes, nor can guess. On all surfaces.

Operations come from the OpenAPI documents: each is tried with the other tenant's ids and with ids that nobody has, and
the answers must not differ; each list is asked before and after the other tenant made something. A new route is in it
by itself, a new path parameter says that it has no id to be tried with.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from domain.entities.organizations import org_of
from ingest_gateway.log.event_log import Appended
from ingest_gateway.surfaces.shared.positions import position_of
from operations import clock
from schemas.times import rfc3339
from schemas.topics import Topic
from tests.support.access import Contract, DocumentedOperation
from tests.support.log_records import an_outcome
from tests.support.whole_gateway import Answer, Tenant, WholeGateway, whole_gateway

SURFACES = ("events", "work", "spine", "burn")
MARK = "onlyones"
"""In all that the first tenant writes, wherever it may write what it likes."""
ULID = "01HX9Z0F8C5G3R8K2V1NQ7M4WP"
NOBODYS = {
    "events": {
        "stream": f"stm_{ULID}",
        "workflow": "wf_nobodys",
        "key": f"key_{ULID}",
        "endpoint": f"whe_{ULID}",
        "event_id": f"evt_{ULID}",
        "replay": f"rpl_{ULID}",
    },
    "work": {
        "project": f"prj_{ULID}",
        "task": f"tsk_{ULID}",
        "webhook": f"whk_{ULID}",
        "delivery": f"dlv_{ULID}",
        "token": f"key_{ULID}",
    },
    "spine": {"correlationId": "nobodys-chain", "subscriptionId": f"sub_{ULID}", "type": "nobodys.type"},
    "burn": {},
}
MOVING = {"guardrail_status", "get_forecast"}
"""Operations whose answers change with the minute."""
CHOSEN_BY_CALLERS = {"type", "workflow"}
"""Names rather than ids: a tenant may make one that another has."""
EVENT = {"type": "order.fulfilled", "occurred_at": "2026-05-18T14:22:11Z", "data": {"mark": MARK}}
CALL = {
    "provider": "openai",
    "model": MARK,
    "status": 200,
    "tokens_in": 142,
    "tokens_out": 318,
    "fingerprint": "sha256:b9c1",
    "cost_usd": 3.5,
}
Ids = dict[str, dict[str, str]]
Answers = dict[str, tuple[int, str, list[str]]]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[WholeGateway]:
    async with whole_gateway(tmp_path) as running:
        yield running


async def live_a_day(gateway: WholeGateway, tenant: Tenant) -> Ids:
    """The tenant makes one of everything; the ids, by surface and path parameter."""

    async def make(surface: str, path: str, body: object, **headers: str) -> Any:
        return await gateway.made(tenant, surface, path, body, **headers)

    at = f"https://{MARK}.example.com"
    workflow = await make("events", "/v1/workflows", {"id": f"wf_{MARK}", "name": MARK, "url": f"{at}/in"})
    stream = await make("events", "/v1/event-streams", {"name": MARK, "default_routes": [workflow["id"]]})
    key = await make("events", "/v1/keys", {"name": MARK})
    endpoint = await make("events", "/v1/webhook-endpoints", {"url": f"{at}/told"})
    replay = await make("events", "/v1/replays", {"stream": MARK, "from": "2026-05-18T00:00:00Z"})
    sent = [await make("events", "/v1/events", {**EVENT, "stream": MARK, "data": {"n": n}}) for n in range(2)]
    projects = [await make("work", "/v1/projects", {"name": f"{MARK} {n}"}) for n in range(2)]
    tasks = [await make("work", "/v1/tasks", {"projectId": projects[0]["id"], "title": MARK}) for _ in range(2)]
    hooks = [await make("work", "/v1/webhooks", {"url": f"{at}/{n}", "events": ["task.created"]}) for n in range(2)]
    token = await make("work", "/v1/tokens", {"name": MARK, "scopes": ["tasks:read"]})
    tried = await make("work", f"/v1/webhooks/{hooks[0]['id']}/test", {})
    deliver(gateway, tenant, hooks[0]["id"], tried["deliveryId"])
    for n in range(2):
        chain = {"metadata": {"correlationId": f"{MARK}-chain"}}
        await make("spine", "/v1/events", {"type": f"{MARK}.done", "source": MARK, "data": {"n": n}, **chain})
    subscribed = {"eventTypes": [f"{MARK}.*"], "webhookUrl": f"{at}/spine", "secret": "whsec_xxxxxxxx"}
    subscription = await make("spine", "/v1/events/subscriptions", subscribed)
    registered = {"description": MARK, "schema": {"type": "object"}}
    kind = await gateway.ask(tenant, "spine", "PUT", f"/v1/event-types/{MARK}.done", registered)
    assert kind.status in (200, 201), kind.body
    await live_a_day_of_burn(gateway, tenant)
    return {
        "events": {
            "stream": stream["id"],
            "workflow": workflow["id"],
            "key": key["id"],
            "endpoint": endpoint["id"],
            "event_id": sent[0]["id"],
            "replay": replay["id"],
        },
        "work": {
            "project": projects[0]["id"],
            "task": tasks[0]["id"],
            "webhook": hooks[0]["id"],
            "delivery": tried["deliveryId"],
            "token": token["id"],
        },
        "spine": {
            "correlationId": f"{MARK}-chain",
            "subscriptionId": subscription["subscriptionId"],
            "type": f"{MARK}.done",
        },
        "burn": {},
    }


async def live_a_day_of_burn(gateway: WholeGateway, tenant: Tenant) -> None:
    """Spend, a loop that trips, a flag by hand and a policy."""
    caps = [{"period": "day", "hard_usd": 100_000, "scope": "project", "id": MARK}]
    put = await gateway.ask(tenant, "burn", "PUT", "/api/guardrails/policy", {"financial_limits": {"caps": caps}})
    assert put.status == 200, put.body
    for _ in range(2):
        loop = {"events": [CALL | {"ts": rfc3339(clock.now_ms())}] * 4}
        told = await gateway.made(tenant, "burn", "/api/ingest", loop)
        assert told["guardrail_status"] == "suspended", "the loop trips"
        flag = {"org_id": org_of(tenant.workspace), "action": "suspend", "layer": MARK, "reason": MARK}
        await gateway.made(tenant, "burn", "/api/guardrails/enforce", flag)
        resumed = await gateway.ask(
            tenant, "burn", "DELETE", "/api/guardrails/enforce", {"org_id": org_of(tenant.workspace), "reason": MARK}
        )
        assert resumed.status == 200
    await gateway.made(tenant, "burn", "/api/guardrails/enforce", flag)


def deliver(gateway: WholeGateway, tenant: Tenant, webhook: str, delivery_id: str) -> None:
    """As delivery tells of it."""
    outcome = an_outcome(
        delivery_id=delivery_id,
        workspace=tenant.workspace,
        workflow_id=webhook,
        stream="work",
        event_id=f"evt_{ULID}",
    )
    gateway.log.project(Topic.OUTCOMES, outcome.encode())


def told(answer: Answer, *ids: str) -> tuple[int, str, list[str]]:
    """Status, body without what was asked for and the request's id, and the names of the headers."""
    text = re.sub(r"req_\w+", "", answer.body.decode())
    for one in ids:
        text = text.replace(one, "")
    return answer.status, text, sorted(answer.headers)


def body_of(operation: DocumentedOperation) -> object:
    """A good one, from the document."""
    media = operation.node.get("requestBody", {}).get("content", {}).get("application/json", {})
    return media.get("example")


def test_every_path_parameter_has_an_id_to_be_tried_with() -> None:
    for surface in SURFACES:
        named = {name for one in Contract(surface).operations for name in re.findall(r"{(\w+)}", one.path)}
        assert named == NOBODYS[surface].keys(), surface


@pytest.mark.requirement("A-015", "A7")
async def test_anothers_id_is_answered_as_nobodys_and_changes_nothing(gateway: WholeGateway) -> None:
    theirs = await live_a_day(gateway, gateway.one)
    before = still(await everything(gateway, gateway.one, theirs))
    tried = 0
    for surface, contract in gateway.contracts.items():
        for operation in contract.operations:
            names = re.findall(r"{(\w+)}", operation.path)
            if not names:
                continue
            tried += 1
            both = [ids[surface][name] for ids in (theirs, NOBODYS) for name in names]
            answers = [
                told(await gateway.ask(gateway.other, surface, operation.method, path, body_of(operation)), *both)
                for path in (operation.path.format(**theirs[surface]), operation.path.format(**NOBODYS[surface]))
            ]
            assert answers[0] == answers[1], (surface, operation)
            is_made = operation.method == "PUT" and CHOSEN_BY_CALLERS & set(names)
            assert answers[0][0] == (201 if is_made else 404), (surface, operation, answers[0])
    assert tried >= 35
    assert still(await everything(gateway, gateway.one, theirs)) == before


async def everything(gateway: WholeGateway, tenant: Tenant, ids: Ids) -> Answers:
    """What every operation that changes nothing answers the tenant, with its own ids; times and ages left out."""
    found = {}
    for surface, contract in gateway.contracts.items():
        for operation in contract.operations:
            if operation.method != "GET" or operation.path.endswith("/stream"):
                continue
            answer = await gateway.ask(tenant, surface, "GET", operation.path.format(**ids[surface]))
            status, text, headers = told(answer)
            found[f"{operation.name} of {surface}"] = (
                status,
                re.sub(r"20\d\d-\d\d-\d\dT[\d:.]+Z|cur_[\w-]+", "", text),
                headers,
            )
    return found


def still(answers: Answers) -> Answers:
    """Those that change by what is done alone."""
    return {place: answer for place, answer in answers.items() if place.split()[0] not in MOVING}


@pytest.mark.requirement("A-015", "A7", "S14")
async def test_what_one_does_the_other_does_not_see(gateway: WholeGateway) -> None:
    """Neither in a list, nor in a number, nor in a header; and whoever did it sees it."""
    empty = await everything(gateway, gateway.other, NOBODYS)
    theirs = await live_a_day(gateway, gateway.one)
    assert await everything(gateway, gateway.other, NOBODYS) == empty
    own = await everything(gateway, gateway.one, theirs)
    assert {place for place, (status, _, _) in own.items() if status != 200} == set()
    unchanged = {place for place in own if own[place][1] == empty[place][1]}
    assert unchanged == set(), "each operation shows something of what was done"
    marks = [MARK, gateway.one.workspace, *(one for ids in theirs.values() for one in ids.values())]
    metrics = generate_latest().decode()
    assert not [mark for mark in (*marks, *gateway.one.tokens.values()) if mark in metrics]


@pytest.mark.requirement("A7", "S8")
async def test_a_cursor_of_anothers_list_is_none(gateway: WholeGateway) -> None:
    """Answered as one that was made up."""
    theirs = await live_a_day(gateway, gateway.one)
    with_cursors = set()
    for surface, contract in gateway.contracts.items():
        for operation in contract.operations:
            names = {parameter["name"] for parameter in operation.parameters}
            if operation.method != "GET" or "cursor" not in names:
                continue
            path = operation.path.format(**theirs[surface])
            page = (await gateway.ask(gateway.one, surface, "GET", f"{path}?limit=1")).json
            cursor = page.get("next_cursor") or page.get("nextCursor")
            if "{" in operation.path and cursor is None:
                continue  # one delivery is all there is
            assert cursor, operation
            with_cursors.add((surface, operation.path))
            forged = cursor[:4] + "A" * (len(cursor) - 4)
            answers = [
                told(await gateway.ask(gateway.other, surface, "GET", f"{path}?limit=1&cursor={one}"), one)
                for one in (cursor, forged)
            ]
            assert answers[0][0] in (400, 404) and answers[0][0] == answers[1][0], (operation, answers)
            assert MARK not in answers[0][1]
    assert len(with_cursors) >= 7


OF_ORG = {"type": "a.b", "source": "s", "data": {}, "metadata": {"orgId": "{}"}}
SUSPENSION = {"org_id": "{}", "action": "suspend", "layer": "l", "reason": "r"}
# (surface, method, path with its query, body, whose name) with {} for the first tenant's name, or for nobody's
NAMED: list[tuple[str, str, str, dict[str, Any] | None, str, str]] = [
    ("events", "POST", "/v1/event-streams", {"name": "mine", "default_routes": ["{}"]}, "events", "workflow"),
    ("events", "POST", "/v1/replays", {"stream": "{}", "from": "2026-05-18T00:00:00Z"}, "events", "stream"),
    ("events", "POST", "/v1/events", {**EVENT, "stream": "{}"}, "events", "stream"),
    ("events", "GET", "/v1/events?stream={}", None, "events", "stream"),
    ("events", "GET", "/v1/events?cursor={}", None, "events", "event_id"),
    ("events", "GET", "/v1/audit?actor={}", None, "events", "key"),
    ("work", "POST", "/v1/tasks", {"projectId": "{}", "title": "mine"}, "work", "project"),
    ("work", "POST", "/v1/ai/summarize", {"projectId": "{}"}, "work", "project"),
    ("work", "GET", "/v1/tasks?projectId={}", None, "work", "project"),
    ("work", "GET", "/v1/activity?actor={}", None, "work", "token"),
    ("spine", "GET", "/v1/events?orgId={}", None, "orgs", "org"),
    ("spine", "GET", "/v1/events?correlationId={}", None, "spine", "correlationId"),
    ("spine", "GET", "/v1/events?type={}", None, "spine", "type"),
    (
        "spine",
        "POST",
        "/v1/events",
        {"type": "a.b", "source": "s", "data": {}, "metadata": {"orgId": "{}"}},
        "orgs",
        "org",
    ),
    ("burn", "DELETE", "/api/guardrails/enforce", {"org_id": "{}", "reason": "mine"}, "orgs", "org"),
    (
        "burn",
        "POST",
        "/api/guardrails/enforce",
        {"org_id": "{}", "action": "suspend", "layer": "l", "reason": "r"},
        "orgs",
        "org",
    ),
]


@pytest.mark.requirement("A6", "A7", "X-12", "B-020")
async def test_what_a_request_names_is_ones_own(gateway: WholeGateway) -> None:
    theirs = await live_a_day(gateway, gateway.one)
    before = still(await everything(gateway, gateway.one, theirs))
    ids = {**theirs, "orgs": {"org": org_of(gateway.one.workspace)}}
    nobodys = {**NOBODYS, "orgs": {"org": "org_NOBODYS000"}}
    for surface, method, path, form, group, name in NAMED:
        answers = []
        for one in (ids[group][name], nobodys[group][name]):
            body = None if form is None else filled(form, one)
            answer = await gateway.ask(gateway.other, surface, method, path.format(one), body)
            answers.append(told(answer, ids[group][name], nobodys[group][name]))
        assert answers[0] == answers[1], (surface, method, path)
        assert MARK not in answers[0][1] and (form is None or 400 <= answers[0][0] < 500 or "ai" in path), answers
    both = await project_and_task(gateway)
    for task in (theirs["work"]["task"], NOBODYS["work"]["task"]):
        depending = {"projectId": both[0], "title": "mine", "dependsOn": [task]}
        refused = await gateway.ask(gateway.other, "work", "POST", "/v1/tasks", depending)
        assert refused.status in (400, 422) and refused.json["title"] == "unknown_task", refused.body
    assert still(await everything(gateway, gateway.one, theirs)) == before


async def project_and_task(gateway: WholeGateway) -> tuple[str, str]:
    project = await gateway.made(gateway.other, "work", "/v1/projects", {"name": "mine"})
    task = await gateway.made(gateway.other, "work", "/v1/tasks", {"projectId": project["id"], "title": "mine"})
    return project["id"], task["id"]


def filled(form: Any, name: str) -> Any:
    """With the name for each {}."""
    if isinstance(form, dict):
        return {member: filled(value, name) for member, value in form.items()}
    if isinstance(form, list):
        return [filled(value, name) for value in form]
    return name if form == "{}" else form


@pytest.mark.requirement("A7", "A-029")
async def test_one_idempotency_key_means_another_thing_for_each(gateway: WholeGateway) -> None:
    """Nobody learns from an answer, an id or a secret what another has made under the same key."""
    rows: list[tuple[str, str, dict[str, Any], str]] = [
        ("events", "/v1/event-streams", {"name": "same"}, "id"),
        ("events", "/v1/keys", {"name": "same"}, "secret"),
        ("events", "/v1/webhook-endpoints", {"url": "https://same.example.com/"}, "id"),
        ("events", "/v1/events", {**EVENT, "stream": "same"}, "id"),
        ("work", "/v1/projects", {"name": "same"}, "id"),
        ("work", "/v1/tokens", {"name": "same", "scopes": ["tasks:read"]}, "token"),
        ("work", "/v1/webhooks", {"url": "https://same.example.com/", "events": ["task.created"]}, "secret"),
        ("spine", "/v1/events", {"type": "same.done", "source": "s", "data": {}}, "eventId"),
        (
            "spine",
            "/v1/events/subscriptions",
            {"eventTypes": ["*"], "webhookUrl": "https://same.example.com/", "secret": "whsec_xxxxxxxx"},
            "subscriptionId",
        ),
    ]
    for number, (surface, path, body, member) in enumerate(rows):
        answers = [
            await gateway.made(tenant, surface, path, body, Idempotency_Key=f"the-same-{number}")
            for tenant in (gateway.one, gateway.other, gateway.one)
        ]
        assert answers[0][member] == answers[2][member] != answers[1][member], path
        assert str(answers[0][member])[-20:] not in str(answers[1]), path


@pytest.mark.requirement("A7", "A-078")
async def test_one_ones_requests_take_nothing_from_the_others_limits(gateway: WholeGateway) -> None:
    await live_a_day(gateway, gateway.one)
    for surface, path in (
        ("events", "/v1/keys"),
        ("work", "/v1/tasks"),
        ("spine", "/v1/events"),
        ("burn", "/api/forecast"),
    ):
        answer = await gateway.ask(gateway.other, surface, "GET", path)
        assert answer.headers["X-RateLimit-Remaining"] == "99999", surface


@pytest.mark.requirement("A7", "A-015")
async def test_a_place_on_anothers_stream_is_none(gateway: WholeGateway) -> None:
    """`Atlas-After`, as it is answered for a stream that there is not."""
    for tenant in (gateway.one, gateway.other):
        await gateway.made(tenant, "events", "/v1/event-streams", {"name": MARK})
        await gateway.made(tenant, "spine", "/v1/events", {"type": "a.b", "source": "s", "data": {}})
    nowhere = position_of(Appended("events.ws_nobodys.live.orders", 0, 1, 0))
    for surface, body in (
        ("events", {**EVENT, "stream": MARK}),
        ("spine", {"type": "a.b", "source": "s", "data": {}}),
    ):
        sent = await gateway.ask(gateway.one, surface, "POST", "/v1/events", body)
        place = sent.headers["Atlas-Position"]
        assert (await gateway.ask(gateway.one, surface, "GET", "/v1/events", Atlas_After=place)).status == 200
        answers = [
            told(await gateway.ask(gateway.other, surface, "GET", "/v1/events", Atlas_After=one), one)
            for one in (place, nowhere)
        ]
        assert answers[0] == answers[1] and answers[0][0] == 400, answers


@pytest.mark.requirement("A7", "S8")
async def test_a_place_of_anothers_command_is_none_and_shows_nothing(gateway: WholeGateway) -> None:
    """Workspaces share the partitions of `commands`: the place is good for its own, and no number can be read from
    it."""
    for surface, path, body, listed in (
        ("events", "/v1/event-streams", {"name": "mine"}, "/v1/events"),
        ("work", "/v1/projects", {"name": "mine"}, "/v1/projects"),
    ):
        made = await gateway.ask(gateway.one, surface, "POST", path, body)
        place = made.headers["Atlas-Position"]
        assert (await gateway.ask(gateway.one, surface, "GET", listed, Atlas_After=place)).status == 200
        bare = position_of(gateway.log.records[-1].appended)
        for tenant, one in ((gateway.other, place), (gateway.one, place[:-1]), (gateway.one, bare)):
            answer = await gateway.ask(tenant, surface, "GET", listed, Atlas_After=one)
            assert answer.status == 400 and "Atlas-After" in answer.body.decode(), one
        assert bare[8:16] not in place
