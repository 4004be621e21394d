"""Two workspaces on one gateway and one read model: what is one's is as good as nothing to the other.

The operations come from the OpenAPI document: each is tried with the other workspace's ids, and with ids nobody has;
the answers must not differ. A new path parameter is in it by itself (a test says when it has no id to be tried with).
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ingest_gateway.log.bootstrap import ask_for_workspace
from ingest_gateway.log.event_log import Appended
from ingest_gateway.surfaces.contract import load_document, operations_of
from ingest_gateway.surfaces.positions import position_of
from processors.projection.decide import project
from schemas.ids import WORKSPACE, short_id
from schemas.topics import Topic, stream_topic
from tests.contract.gateway.conftest import MASTER_KEY, Answer, Gateway
from tests.contract.gateway.test_lookups import an_event as recorded_event
from tests.contract.gateway.test_lookups import write
from tests.support.events import a_body
from tests.support.kafka_topics import Stored, read_all
from tests.support.log_records import LogRecord, event_id

OPERATIONS = operations_of(load_document("events"))
ULID = "01HX9Z0F8C5G3R8K2V1NQ7M4WP"
NOBODYS = {
    "stream": f"stm_{ULID}",
    "workflow": "wf_nobodys",
    "key": f"key_{ULID}",
    "endpoint": f"whe_{ULID}",
    "event_id": f"evt_{ULID}",
    "replay": f"rpl_{ULID}",
}
EVENT = {"type": "order.fulfilled", "occurred_at": "2026-05-18T14:22:11Z", "data": {}}
Ids = dict[str, str]


@pytest.fixture
async def theirs(gateway: Gateway) -> AsyncIterator[Ids]:
    """Ids of one thing of each kind in the gateway's first workspace; `other` is a key of a second one."""

    async def make(path: str, body: object) -> dict[str, Any]:
        made = await gateway.ask("POST", path, body)
        assert made.status < 300, made.body
        whole: dict[str, Any] = made.json
        return whole

    workflow = await make("/v1/workflows", {"id": "wf_theirs", "name": "Theirs", "url": "https://theirs.example.com/"})
    stream = await make("/v1/event-streams", {"name": "theirs", "default_routes": [workflow["id"]]})
    key = await make("/v1/keys", {"name": "theirs"})
    endpoint = await make("/v1/webhook-endpoints", {"url": "https://theirs.example.com/told"})
    replay = await make("/v1/replays", {"stream": "theirs", "from": "2026-05-18T00:00:00Z"})
    topic = stream_topic(gateway.workspace, "live", "theirs")
    write(gateway, *(recorded_event(gateway, (topic, 0, n), event_id=event_id(n)) for n in range(3)))
    made = await ask_for_workspace(gateway.clients, MASTER_KEY, short_id(WORKSPACE), "Other")
    gateway.keys["other"] = made["live_key"]
    yield {
        "stream": stream["id"],
        "workflow": workflow["id"],
        "key": key["id"],
        "endpoint": endpoint["id"],
        "event_id": event_id(1),
        "replay": replay["id"],
    }


def told(answer: Answer, *ids: str) -> tuple[int, str, list[str]]:
    """Status, body without what was asked for and the request's id, and the names of the headers."""
    text = re.sub(r"req_\w+", "", answer.body.decode())
    for one in ids:
        text = text.replace(one, "")
    return answer.status, text, sorted(answer.headers)


def test_every_path_parameter_has_an_id_to_be_tried_with() -> None:
    named = {name for _, path in OPERATIONS for name in re.findall(r"{(\w+)}", path)}
    assert named == NOBODYS.keys()


@pytest.mark.requirement("A-015", "A7", "S14")
async def test_every_operation_with_anothers_id_answers_as_with_nobodys(gateway: Gateway, theirs: Ids) -> None:
    tried = 0
    for method, path in OPERATIONS:
        names = re.findall(r"{(\w+)}", path)
        if not names:
            continue
        tried += 1
        body = None if method in ("GET", "DELETE") else {}
        mine = await gateway.ask(method, path.format(**theirs), body, key="other")
        nobodys = await gateway.ask(method, path.format(**NOBODYS), body, key="other")
        both = [ids[name] for ids in (theirs, NOBODYS) for name in names]
        assert told(mine, *both) == told(nobodys, *both), f"{method} {path}"
        assert mine.status == 404, f"{method} {path}"
        own = await gateway.ask("GET", path.format(**theirs)) if method == "GET" else None
        assert own is None or own.status == 200, f"{path} is there for its owner"
    assert tried >= 15


@pytest.mark.requirement("A7")
async def test_what_a_body_may_name_is_ones_own(gateway: Gateway, theirs: Ids) -> None:
    """As told of something that nobody has; and nothing of the other's has changed."""
    span = {"from": "2026-05-18T00:00:00Z", "to": "2026-05-19T00:00:00Z"}
    rows: list[tuple[str, str, dict[str, Any], str, str]] = [
        ("POST", "/v1/event-streams", {"name": "mine", "default_routes": ["{}"]}, "wf_theirs", "wf_nobodys"),
        ("POST", "/v1/replays", {"stream": "{}", **span}, "theirs", "nobodys"),
        ("POST", "/v1/replays", {"stream": "{}", **span}, theirs["stream"], NOBODYS["stream"]),
        ("POST", "/v1/events", {**EVENT, "stream": "{}"}, "theirs", "nobodys"),
    ]
    for method, path, form, mine, nobodys in rows:
        answers = []
        for one in (mine, nobodys):
            body = {k: [one] if v == ["{}"] else one if v == "{}" else v for k, v in form.items()}
            answers.append(told(await gateway.ask(method, path, body, key="other"), mine, nobodys))
        assert answers[0] == answers[1], f"{method} {path}"
        assert answers[0][0] in (400, 404)
    batch = {"events": [{**EVENT, "stream": "theirs"}, {**EVENT, "stream": "nobodys"}]}
    results = (await gateway.ask("POST", "/v1/events/batch", batch, key="other")).json["results"]
    assert [result["error"]["code"] for result in results] == ["stream_not_found"] * 2
    assert (await gateway.ask("GET", f"/v1/replays/{theirs['replay']}")).json["status"] == "running"


@pytest.mark.requirement("A7", "S8")
async def test_cursors_and_places_of_another_lead_nowhere(gateway: Gateway, theirs: Ids) -> None:
    page = (await gateway.ask("GET", "/v1/events?limit=1")).json
    assert [one["id"] for one in page["data"]] == [event_id(0)] and page["next_cursor"]
    forged = "cur_" + "A" * (len(page["next_cursor"]) - 4)
    for mine, nobodys in ((page["next_cursor"], forged), (theirs["event_id"], NOBODYS["event_id"])):
        answers = [
            told(await gateway.ask("GET", f"/v1/events?limit=1&cursor={one}", key="other"), mine, nobodys)
            for one in (mine, nobodys)
        ]
        assert answers[0] == answers[1] and event_id(0) not in answers[0][1]
    assert (await gateway.ask("GET", "/v1/events", key="other")).json["data"] == []
    sent = await gateway.ask("POST", "/v1/events", a_body(stream="theirs"))
    for position in (sent.headers["Atlas-Position"], position_of(Appended("events.ws_other.live.orders", 0, 1, 0))):
        refused = await gateway.ask("GET", "/v1/events", key="other", headers={"Atlas-After": position})
        assert (refused.status, refused.fields) == (400, ["Atlas-After"])


@pytest.mark.requirement("A7", "A-029")
async def test_one_key_and_one_content_are_two_events_in_two_workspaces(gateway: Gateway, theirs: Ids) -> None:
    """So nobody learns from an answer, or from an id, what another has sent."""
    assert (await gateway.ask("POST", "/v1/event-streams", {"name": "theirs"}, key="other")).status == 201
    body, headers = a_body(stream="theirs"), {"Idempotency-Key": "k-1"}
    ways = [(key, more) for key in ("live", "other") for more in (headers, {})]
    sends = (gateway.ask("POST", "/v1/events", body, key=key, headers=more) for key, more in ways)
    sent = await asyncio.gather(*sends)  # nobody decides here, so those with a key wait for as long as they may
    assert {one.status for one in sent} == {202}
    assert len({one.json["id"] for one in sent}) == 4
    made = [
        (await gateway.ask("POST", "/v1/keys", {"name": "same"}, key=key, headers=headers)).json
        for key in ("live", "other")
    ]
    assert made[0]["id"] != made[1]["id"] and made[0]["secret"] != made[1]["secret"]
    assert made[0]["secret"][-32:] not in str(made[1])


@pytest.mark.requirement("A7")
async def test_the_audit_log_tells_ones_own(gateway: Gateway, theirs: Ids) -> None:
    records: dict[int, list[Stored]] = {}
    for stored in read_all(gateway.settings.kafka, Topic.AUDIT):
        records.setdefault(stored.partition, []).append(stored)
    for partition, of_one in records.items():
        log = [LogRecord(Topic.AUDIT, partition, stored.offset, stored.value) for stored in of_one]
        gateway.store.apply([project(log)])
    mine = (await gateway.ask("GET", "/v1/audit?limit=100")).json["data"]
    other = (await gateway.ask("GET", "/v1/audit?limit=100", key="other")).json["data"]
    assert {one["action"] for one in mine} >= {"stream.create", "workflow.create", "key.create", "replay.start"}
    assert [one["action"] for one in other] == ["workspace.create"]
    assert not {one["id"] for one in mine} & {one["id"] for one in other}
    page = (await gateway.ask("GET", "/v1/audit?limit=1")).json
    refused = await gateway.ask("GET", f"/v1/audit?limit=1&cursor={page['next_cursor']}", key="other")
    assert (refused.status, refused.fields) == (400, ["cursor"])
