"""`GET /v1/events/{id}` on the real gateway: the read model's rows, the payload, reads after writes."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import insert

from operations.read_model_engine import writer_engine
from schemas.codec import EVENT
from schemas.read_model import ROWS, AttemptRow, ConflictRow, EventRow, SourcePosition
from schemas.topics import stream_topic
from tests.contract.gateway.conftest import Answer, Gateway, a_gateway
from tests.support.kafka_topics import a_stream_topic, produce

RECEIVED_MS = 1_779_114_131_482
EVENT_ID = "evt_01HX9YQK2T7V3M4ZB6F5N0WJ1A"
OTHER_ID = "evt_01HX9YQK2T7V3M4ZB6F5N0WJ1B"
DATA = b'{"order_id": "ord_1",  "total_cents": 4299}'


def write(gateway: Gateway, *rows: Any) -> None:
    """As projection does, into the gateway's read model."""
    tables = {table_row: table for table, table_row in ROWS.items()}
    engine = writer_engine(gateway.settings.database_url)
    with engine.begin() as connection:
        for row in rows:
            connection.execute(insert(tables[type(row)]).values(row._asdict()))
    engine.dispose()


def an_event(gateway: Gateway, source: tuple[str, int, int] = ("gone", 0, 0), **changes: Any) -> EventRow:
    values: dict[str, Any] = {
        "workspace": gateway.workspace,
        "environment": "live",
        "id": EVENT_ID,
        "stream": "orders-prod",
        "type": "order.fulfilled",
        "received_ms": RECEIVED_MS,
        "occurred_at": "2026-05-18T16:22:11+02:00",
        "idempotency_key": "key-1",
        "actor": '{"type":"user","id":"usr_1"}',
        "metadata": None,
        "routes": '["wf_billing"]',
        "data_bytes": len(DATA),
        "source_topic": source[0],
        "source_topic_id": "topic-id",
        "source_partition": source[1],
        "source_offset": source[2],
    }
    return EventRow(**values | changes)


async def get(gateway: Gateway, event_id: str = EVENT_ID, query: str = "", **more: Any) -> Answer:
    return await gateway.ask("GET", f"/v1/events/{event_id}{query}", **more)


@pytest.mark.requirement("A-045", "A-047")
async def test_the_state_of_an_event(gateway: Gateway) -> None:
    write(gateway, an_event(gateway))
    found = await get(gateway)
    assert found.status == 200
    assert found.json == {
        "id": EVENT_ID,
        "object": "event",
        "stream": "orders-prod",
        "type": "order.fulfilled",
        "status": "accepted",
        "received_at": "2026-05-18T14:22:11.482Z",
        "occurred_at": "2026-05-18T16:22:11+02:00",
        "idempotency_key": "key-1",
        "actor": {"type": "user", "id": "usr_1"},
        "metadata": None,
        "attempts": [{"workflow_id": "wf_billing", "status": "queued", "attempt": 1}],
    }


@pytest.mark.requirement("A-051", "A-015", "A7")
@pytest.mark.parametrize("event_id", [OTHER_ID, "evt_1", EVENT_ID[4:], EVENT_ID.lower(), "evt_" + "U" * 26])
async def test_what_is_not_there_is_not_found(gateway: Gateway, event_id: str) -> None:
    write(gateway, an_event(gateway), an_event(gateway, workspace="ws_other", id=OTHER_ID))
    missing = await get(gateway, event_id)
    assert (missing.status, missing.code) == (404, "event_not_found")
    other_environment = await get(gateway, key="test")
    assert (other_environment.status, other_environment.code) == (404, "event_not_found")


@pytest.mark.requirement("A-012")
async def test_a_publishable_key_reads_nothing(gateway: Gateway) -> None:
    refused = await get(gateway, key="publishable")
    assert (refused.status, refused.code) == (403, "forbidden")


async def test_an_id_that_lost_its_key_names_the_original(gateway: Gateway) -> None:
    write(gateway, ConflictRow(gateway.workspace, "live", OTHER_ID, EVENT_ID, RECEIVED_MS))
    conflict = await get(gateway, OTHER_ID)
    assert (conflict.status, conflict.code) == (409, "duplicate_event")
    assert conflict.json["error"]["details"] == {"original_event_id": EVENT_ID}


AVRO = EVENT.encode({"type": "order.fulfilled", "occurred_at": "2026-05-18T16:22:11+02:00", "data": DATA})


@pytest.mark.parametrize("value", [AVRO, b'{"data": ' + DATA + b"}"])
async def test_the_payload_comes_from_the_log_byte_for_byte(gateway: Gateway, value: bytes) -> None:
    topic = a_stream_topic(gateway.settings.kafka)
    partition, offset = await asyncio.to_thread(produce, gateway.settings.kafka, topic, value)
    write(gateway, an_event(gateway, (topic, partition, offset)))
    assert "data" not in (await get(gateway)).json
    found = await get(gateway, query="?expand=data")
    assert b'"data":' + DATA in found.body
    assert found.json["data"] == json.loads(DATA)


async def test_a_payload_that_retention_took_is_null(gateway: Gateway) -> None:
    topic = a_stream_topic(gateway.settings.kafka)
    write(gateway, an_event(gateway, (topic, 0, 7)))
    assert (await get(gateway, query="?expand=data")).json["data"] is None


async def test_every_attempt_is_shown_when_asked_for(gateway: Gateway) -> None:
    attempt = AttemptRow(
        *(gateway.workspace, "live", EVENT_ID, "dlv_1", 1, "wf_billing", 0, "delivered"),
        *(RECEIVED_MS, RECEIVED_MS + 5, RECEIVED_MS + 25, 200, None, None, None, None, 1),
    )
    write(gateway, an_event(gateway), attempt)
    assert [one["status"] for one in (await get(gateway)).json["attempts"]] == ["delivered"]
    (made,) = (await get(gateway, query="?expand=attempts,data")).json["attempts"]
    assert (made["delivery_id"], made["http_status"]) == ("dlv_1", 200)


@pytest.mark.parametrize("query", ["?expand=everything", "?expand=data,data2", "?expand=data&expand=data", "?extra=1"])
@pytest.mark.requirement("H23")
async def test_a_query_that_is_not_known_is_refused(gateway: Gateway, query: str) -> None:
    refused = await get(gateway, query=query)
    assert (refused.status, refused.code) == (400, "invalid_request")


async def test_a_read_waits_for_what_this_gateway_wrote(gateway: Gateway) -> None:
    """The event is appended; its row and then its position come into the read model while the request waits."""
    topic = stream_topic(gateway.workspace, "live", "orders-prod")
    assert (await gateway.ask("POST", "/v1/event-streams", {"name": "orders-prod"})).status == 201
    appended = await gateway.clients.events.append(topic, b"k", b"v", [])
    asked = asyncio.create_task(get(gateway))
    still_asking, _ = await asyncio.wait([asked], timeout=0.2)
    assert not still_asking
    row = an_event(gateway, (topic, appended.partition, appended.offset))
    position = SourcePosition(topic, appended.partition, "topic-id", appended.offset + 1, 1)
    await asyncio.to_thread(write, gateway, row, position)
    assert (await asked).status == 200
    assert (await get(gateway, OTHER_ID)).status == 404


async def test_a_read_model_that_stays_behind_says_so(bootstrap: str, tmp_path: Any) -> None:
    async with a_gateway(bootstrap, tmp_path, ATLAS_READ_TIMEOUT_SECONDS="0.2") as gateway:
        topic = stream_topic(gateway.workspace, "live", "orders-prod")
        assert (await gateway.ask("POST", "/v1/event-streams", {"name": "orders-prod"})).status == 201
        await gateway.clients.events.append(topic, b"k", b"v", [])
        behind = await get(gateway)
        assert (behind.status, behind.code, behind.headers["Retry-After"]) == (503, "read_model_behind", "1")
