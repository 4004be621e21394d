"""Lists on the real gateway: parameters, cursors, reads after writes, what a key may see."""

import asyncio
import time
from typing import Any
from urllib.parse import quote

import pytest

from ingest_gateway.log.event_log import Appended
from ingest_gateway.read_model.cursors import LIFE_MS, CursorInvalid, Cursors
from ingest_gateway.surfaces.shared.contract import load_document
from ingest_gateway.surfaces.shared.positions import position_of
from processors.projection.decide import project
from schemas.topics import Topic, stream_topic
from tests.contract.gateway.conftest import Answer, Gateway
from tests.support.events import a_body
from tests.support.kafka_topics import Stored, read_all
from tests.support.log_records import RECEIVED_MS, ProjectionInput, a_decision, decided, event_id
from tests.support.openapi import breaches

DOCUMENT = load_document("events")


def show(gateway: Gateway, *numbers: int, environment: str = "live", workspace: str | None = None) -> None:
    """As projection does: one event a number, received a millisecond after the one before."""
    topic = stream_topic(workspace or gateway.workspace, environment, "orders")
    rows = [a_decision(n, topic=topic, received_ms=RECEIVED_MS + n, metadata=b'{"region":"eu"}') for n in numbers]
    gateway.store.apply([project(decided(*rows))])


async def listed(gateway: Gateway, query: str = "", **more: Any) -> Answer:
    return await gateway.ask("GET", f"/v1/events{query}", **more)


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [event["id"] for event in answer.json["data"]]


@pytest.mark.requirement("A-084", "A-085", "A-086", "A-087")
async def test_a_list_page_by_page(gateway: Gateway) -> None:
    show(gateway, *range(30))
    show(gateway, 90, environment="test")
    show(gateway, 91, workspace="ws_other")
    first = await listed(gateway)
    assert ids(first) == [event_id(n) for n in range(25)]
    schema = {"$ref": "#/components/schemas/ListedEvent"}
    assert [breach for event in first.json["data"] for breach in breaches(DOCUMENT, schema, event)] == []
    assert (first.json["object"], first.json["has_more"]) == ("list", True)
    rest = await listed(gateway, f"?cursor={first.json['next_cursor']}")
    assert ids(rest) == [event_id(n) for n in range(25, 30)]
    assert (rest.json["has_more"], rest.json["next_cursor"]) == (False, None)
    assert ids(await listed(gateway, f"?limit=3&cursor={event_id(25)}")) == [event_id(n) for n in (26, 27, 28)]
    assert ids(await listed(gateway, key="test")) == [event_id(90)]


@pytest.mark.requirement("A-038", "A-084")
async def test_a_stream_that_is_not_there_is_404_and_a_deleted_one_shows_what_is_kept(gateway: Gateway) -> None:
    show(gateway, 1)  # of the stream `orders`, which control knows nothing of any more
    assert ids(await listed(gateway, "?stream=orders")) == [event_id(1)]
    assert ids(await listed(gateway, "?stream=orders&type=no.such")) == []
    for unknown in ("ordres", "stm_01JV2X00000000000000000000", "", "Orders"):
        answer = await listed(gateway, f"?stream={unknown}")
        assert (answer.status, answer.code) == (404, "stream_not_found"), unknown
    elsewhere = await listed(gateway, "?stream=orders", key="test")
    assert (elsewhere.status, elsewhere.code) == (404, "stream_not_found")


# (query, the field at fault)
BAD_QUERIES = [
    ("?limit=0", "limit"),
    ("?limit=101", "limit"),
    ("?limit=1&limit=2", "limit"),
    ("?status=lost", "status"),
    ("?from=yesterday", "from"),
    ("?to=2026-05-18", "to"),
    ("?from=2026-05-19T00:00:00Z&to=2026-05-18T00:00:00Z", "from"),
    ("?metadata.=x", "metadata."),
    ("?offset=3", "offset"),
    ("?" + "&".join(f"metadata.k{n}=x" for n in range(6)), "metadata.k5"),
    ("?cursor=", "cursor"),
    ("?cursor=evt_00000000000000000000000999", "cursor"),
    ("?cursor=cur_", "cursor"),
    ("?cursor=cur_AAAA", "cursor"),
    ("?cursor=%2e%2e", "cursor"),
]


@pytest.mark.requirement("S8", "S9")
async def test_what_a_list_does_not_take(gateway: Gateway) -> None:
    for query, field in BAD_QUERIES:
        answer = await listed(gateway, query)
        assert (answer.status, answer.code, answer.fields) == (400, "invalid_request", [field]), query


@pytest.mark.requirement("S8")
async def test_a_cursor_is_good_for_its_own_list_alone(gateway: Gateway) -> None:
    show(gateway, *range(5))
    query = "?limit=2&type=order.fulfilled"
    cursor = (await listed(gateway, query)).json["next_cursor"]
    assert ids(await listed(gateway, f"{query}&cursor={cursor}")) == [event_id(2), event_id(3)]
    assert ids(await listed(gateway, f"?limit=1&type=order.fulfilled&cursor={cursor}")) == [event_id(2)]
    flipped = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]
    refused = [
        f"?limit=2&cursor={cursor}",
        f"?limit=2&type=order.refunded&cursor={cursor}",
        f"{query}&cursor={cursor[:-1]}",
        f"{query}&cursor={cursor}A",
        f"{query}&cursor={cursor}%3D",
        f"{query}&cursor={flipped}",
        f"{query}&cursor={cursor.removeprefix('cur_')}",
    ]
    for one in refused:
        assert (await listed(gateway, one)).fields == ["cursor"], one
    assert (await listed(gateway, f"{query}&cursor={cursor}", key="test")).fields == ["cursor"]
    assert (await gateway.ask("GET", f"/v1/audit?cursor={cursor}")).fields == ["cursor"]


@pytest.mark.requirement("A-085", "S8")
def test_a_cursor_holds_for_24_hours() -> None:
    cursors = Cursors(bytes(32))
    cursor = cursors.encrypt(b"list", b"place", 1_000)
    assert cursors.decrypt(b"list", cursor, 1_000 + LIFE_MS - 1) == b"place"
    with pytest.raises(CursorInvalid, match="older than 24 hours"):
        cursors.decrypt(b"list", cursor, 1_000 + LIFE_MS)
    with pytest.raises(CursorInvalid):
        Cursors(bytes([1]) * 32).decrypt(b"list", cursor, 1_000)


@pytest.mark.requirement("S9")
async def test_wildcards_and_sql_are_text_like_any_other(gateway: Gateway) -> None:
    show(gateway, 1)
    for text in ("*", "**", "%", "order.%", "_rder.fulfilled", "' OR '1'='1", "'; drop table events--", '"', "\\"):
        for name in ("type", "metadata.region", f"metadata.{quote(text)}"):
            assert ids(await listed(gateway, f"?{name}={quote(text)}")) == [], (name, text)
        answer = await listed(gateway, f"?stream={quote(text)}")
        assert (answer.status, answer.json["error"]["code"]) == (404, "stream_not_found"), text
    assert ids(await listed(gateway)) == [event_id(1)]


async def test_a_time_may_come_with_its_plus_unescaped(gateway: Gateway) -> None:
    show(gateway, 0)
    assert ids(await listed(gateway, "?from=2026-05-18T16:22:11.482+02:00")) == [event_id(0)]
    assert ids(await listed(gateway, "?from=2026-05-18T16:22:11.483%2B02:00")) == []


def after(topic: str, offset: int, partition: int = 3) -> dict[str, str]:
    return {"Atlas-After": position_of(Appended(topic, partition, offset, 0))}


@pytest.mark.requirement("A-045")
async def test_a_read_follows_the_write_that_it_names(gateway: Gateway) -> None:
    topic = stream_topic(gateway.workspace, "live", "orders")
    waiting = [
        asyncio.create_task(gateway.ask("GET", path, headers=after(topic, 7)))
        for path in ("/v1/events", f"/v1/events/{event_id(7)}")
    ]
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in waiting)
    show(gateway, 7)
    many, one = await asyncio.gather(*waiting)
    assert ids(many) == [event_id(7)]
    assert one.status == 200


@pytest.mark.requirement("A-045")
@pytest.mark.parametrize("read_timeout_seconds", [0.3])
async def test_what_is_not_there_in_time_is_said_to_be_behind(gateway: Gateway) -> None:
    topic = stream_topic(gateway.workspace, "live", "orders")
    for path in ("/v1/events", f"/v1/events/{event_id(1)}"):
        answer = await gateway.ask("GET", path, headers=after(topic, 99))
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "read_model_behind", "1")


@pytest.mark.parametrize(
    "position", ["x", "AAAA", "é", position_of(Appended("events.ws_other.live.orders", 0, 1, 0)), "," * 30 + "x"]
)
async def test_positions_of_others_and_of_nothing_are_refused(gateway: Gateway, position: str) -> None:
    answer = await gateway.ask("GET", "/v1/events", headers={"Atlas-After": position})
    assert (answer.status, answer.fields) == (400, ["Atlas-After"])


@pytest.mark.parametrize("read_timeout_seconds", [3.0])
async def test_an_answer_to_a_command_names_its_place_and_reads_may_follow_it(gateway: Gateway) -> None:
    made = await gateway.ask("POST", "/v1/event-streams", {"name": "orders-lists"})
    assert made.status == 201
    follow = {"Atlas-After": made.headers["Atlas-Position"]}
    assert (await listed(gateway, headers=follow)).status == 200
    accepted = await gateway.ask("POST", "/v1/events", a_body(stream="orders-lists", occurred_at=now_text()))
    assert accepted.status == 202
    behind = await listed(gateway)  # nothing projects here: what was just written can't be shown, and is not left out
    assert (behind.status, behind.code) == (503, "read_model_behind")


def now_text() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@pytest.mark.parametrize("read_timeout_seconds", [3.0])
async def test_every_change_stands_in_the_audit_log_with_who_did_it_and_how(gateway: Gateway) -> None:
    made = await gateway.ask("POST", "/v1/event-streams", {"name": "orders-audit"})
    again = await gateway.ask("POST", "/v1/event-streams", {"name": "orders-audit"})
    assert (made.status, again.status) == (201, 409)
    records: dict[int, list[Stored]] = {}
    for stored in read_all(gateway.settings.kafka, Topic.AUDIT):
        records.setdefault(stored.partition, []).append(stored)
    behind = await gateway.ask("GET", "/v1/audit")
    assert (behind.status, behind.code) == (503, "read_model_behind")
    for partition, of_one in records.items():
        log = [ProjectionInput(Topic.AUDIT, partition, stored.offset, stored.value) for stored in of_one]
        gateway.store.apply([project(log)])
    shown = await gateway.ask("GET", "/v1/audit?action=stream.create")
    done, refused = shown.json["data"]
    assert breaches_of("AuditEntry", done) == []
    assert (done["route"], done["outcome"]) == ("POST /v1/event-streams", "accepted")
    assert done["resource"] == f"stream/{made.json['id']}"
    assert (done["request_id"], done["address"]) == (made.headers["X-Request-Id"], "127.0.0.1")
    assert done["actor"].startswith("key_")
    assert (refused["outcome"], refused["resource"]) == ("stream_exists", None)
    assert (await gateway.ask("GET", "/v1/audit", key="publishable")).status == 403


def breaches_of(name: str, value: Any) -> list[Any]:
    return list(breaches(DOCUMENT, {"$ref": f"#/components/schemas/{name}"}, value))
