"""`GET /v1/events/{id}` on the real gateway: the read model's rows, the payload, reads after writes."""

import asyncio
import json
from typing import Any

import pytest

from processors.projection.decide import project
from schemas.codec import EVENT
from schemas.records import Decision, Outcome
from schemas.topics import stream_topic
from tests.contract.gateway.conftest import Answer, Gateway, a_gateway
from tests.support.kafka_topics import a_stream_topic, produce
from tests.support.log_records import a_decision, an_outcome, attempted, decided, event_id

EVENT_ID, OTHER_ID = event_id(1), event_id(2)
DATA = b'{"order_id": "ord_1",  "total_cents": 4299}'


def an_event(gateway: Gateway, source: tuple[str, int, int] | None = None, **changes: Any) -> Decision:
    """Event 1, admitted in the gateway's workspace; `source`: where its record stands."""
    topic, partition, offset = source or (stream_topic(gateway.workspace, "live", "orders-prod"), 0, 0)
    values: dict[str, Any] = {
        **{"topic": topic, "partition": partition, "offset": offset},
        **{
            "topic_id": "topic-id",
            "idempotency_key": "key-1",
            "actor": b'{"type":"user","id":"usr_1"}',
            "routes": ["wf_billing"],
        },
    }
    return a_decision(1, **values | changes)


def write(gateway: Gateway, *records: Decision | Outcome) -> None:
    """As projection does, into the gateway's read model."""
    of_decisions = [decided(record, partition=record.partition) for record in records if isinstance(record, Decision)]
    outcomes = attempted(*(record for record in records if isinstance(record, Outcome)))
    gateway.store.apply([project(partition) for partition in (*of_decisions, outcomes) if partition])


async def get(gateway: Gateway, wanted: str = EVENT_ID, query: str = "", **more: Any) -> Answer:
    return await gateway.ask("GET", f"/v1/events/{wanted}{query}", **more)


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
@pytest.mark.parametrize("wanted", [OTHER_ID, "evt_1", EVENT_ID[4:], EVENT_ID.upper(), "evt_" + "U" * 26])
async def test_what_is_not_there_is_not_found(gateway: Gateway, wanted: str) -> None:
    write(
        gateway,
        an_event(gateway),
        an_event(gateway, (stream_topic("ws_other", "live", "orders-prod"), 1, 0), event_id=OTHER_ID),
    )
    missing = await get(gateway, wanted)
    assert (missing.status, missing.code) == (404, "event_not_found")
    other_environment = await get(gateway, key="test")
    assert (other_environment.status, other_environment.code) == (404, "event_not_found")


@pytest.mark.requirement("A-012")
async def test_a_publishable_key_reads_nothing(gateway: Gateway) -> None:
    refused = await get(gateway, key="publishable")
    assert (refused.status, refused.code) == (403, "forbidden")


async def test_an_id_that_lost_its_key_names_the_original(gateway: Gateway) -> None:
    write(gateway, an_event(gateway, event_id=OTHER_ID, outcome="conflict", original_id=EVENT_ID))
    conflict = await get(gateway, OTHER_ID)
    assert (conflict.status, conflict.code) == (409, "duplicate_event")
    assert conflict.json["error"]["details"] == {"original_event_id": EVENT_ID}


@pytest.mark.requirement("A3", "A7")
async def test_the_original_is_named_to_keys_that_can_see_it(gateway: Gateway) -> None:
    place = stream_topic(gateway.workspace, "live", "orders-prod"), 1, 0
    conflict = an_event(gateway, place, event_id=OTHER_ID, outcome="conflict", original_id=EVENT_ID)
    write(gateway, an_event(gateway), conflict)
    for streams, code in ((["orders-prod"], "duplicate_event"), (["another-one"], "event_not_found")):
        made = await gateway.ask("POST", "/v1/keys", {"name": "limited", "streams": streams})
        gateway.keys["limited"] = made.json["secret"]
        assert (await get(gateway, OTHER_ID, key="limited")).code == code, streams


AVRO = EVENT.encode({"type": "order.fulfilled", "occurred_at": "2026-05-18T16:22:11+02:00", "data": DATA})


@pytest.mark.parametrize("value", [AVRO, b'{"data": ' + DATA + b"}"])
async def test_the_payload_comes_from_the_log_byte_for_byte(gateway: Gateway, value: bytes) -> None:
    topic = a_stream_topic(gateway.settings.kafka, workspace=gateway.workspace)
    partition, offset = await asyncio.to_thread(produce, gateway.settings.kafka, topic, value)
    write(gateway, an_event(gateway, (topic, partition, offset)))
    assert "data" not in (await get(gateway)).json
    found = await get(gateway, query="?expand=data")
    assert b'"data":' + DATA in found.body
    assert found.json["data"] == json.loads(DATA)


async def test_a_payload_that_retention_took_is_null(gateway: Gateway) -> None:
    topic = a_stream_topic(gateway.settings.kafka, workspace=gateway.workspace)
    write(gateway, an_event(gateway, (topic, 0, 7)))
    assert (await get(gateway, query="?expand=data")).json["data"] is None


async def test_every_attempt_is_shown_when_asked_for(gateway: Gateway) -> None:
    attempt = an_outcome(1, workspace=gateway.workspace, workflow_id="wf_billing", delivery_id="dlv_1")
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
    """The event is appended; its row comes into the read model while the request waits."""
    topic = stream_topic(gateway.workspace, "live", "orders-prod")
    assert (await gateway.ask("POST", "/v1/event-streams", {"name": "orders-prod"})).status == 201
    appended = await gateway.clients.events.append(topic, b"k", b"v", [])
    asked = asyncio.create_task(get(gateway))
    still_asking, _ = await asyncio.wait([asked], timeout=0.2)
    assert not still_asking
    await asyncio.to_thread(write, gateway, an_event(gateway, (topic, appended.partition, appended.offset)))
    assert (await asked).status == 200
    assert (await get(gateway, OTHER_ID)).status == 404


async def test_a_read_model_that_stays_behind_says_so(bootstrap: str, tmp_path: Any) -> None:
    async with a_gateway(bootstrap, tmp_path, ATLAS_READ_TIMEOUT_SECONDS="0.2") as gateway:
        topic = stream_topic(gateway.workspace, "live", "orders-prod")
        assert (await gateway.ask("POST", "/v1/event-streams", {"name": "orders-prod"})).status == 201
        await gateway.clients.events.append(topic, b"k", b"v", [])
        behind = await get(gateway)
        assert (behind.status, behind.code, behind.headers["Retry-After"]) == (503, "read_model_behind", "1")
