"""What a read waits for: at another gateway than the one that took the event, and behind a producer's open transaction.

Two gateways on one log; the test is admission and projection, so what is shown when is its decision.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from confluent_kafka import Producer

from ingest_gateway.log.clients import log_clients
from ingest_gateway.log.ends import LogEnds
from ingest_gateway.surfaces.events.app import EVENTS
from ingest_gateway.surfaces.served import serving
from operations.topic_ends import TopicEnds
from processors.projection.decide import project
from schemas.topics import Topic
from tests.contract.gateway.conftest import Answer, Gateway
from tests.support.events import an_event
from tests.support.kafka_topics import produce
from tests.support.log_records import a_decision, decided
from tests.support.until import until

UNKNOWN_ID = "evt_01HX9YQK2T7V3M4ZB6F5N0WJ1A"
STREAMS = ("orders", "payments")
FLOOD = 200
Place = tuple[str, int, int]


@pytest.fixture
def read_timeout_seconds() -> float:
    return 20.0


@pytest.fixture
async def other(gateway: Gateway) -> AsyncIterator[Gateway]:
    """Another gateway of the same installation, which has appended nothing."""
    for name in STREAMS:
        assert (await gateway.ask("POST", "/v1/event-streams", {"name": name})).status == 201
    async with log_clients(gateway.settings) as clients:
        await clients.ready()
        async with serving(gateway.settings, clients, [EVENTS]) as ports:
            yield dataclasses.replace(gateway, url=f"http://127.0.0.1:{ports['events']}", clients=clients)


def topic_of(gateway: Gateway, stream: str) -> str:
    return gateway.clients.control.view.streams_by_name[gateway.workspace, "live", stream].topic


async def publish(gateway: Gateway, stream: str, **data: Any) -> tuple[str, Place]:
    """The event's id, and where its record stands."""
    before = set(gateway.clients.events.newest(gateway.workspace, "live"))
    answer = await gateway.ask("POST", "/v1/events", an_event(stream=stream, data=data))
    assert answer.status == 202, answer.body
    (place,) = set(gateway.clients.events.newest(gateway.workspace, "live")) - before
    return answer.json["id"], place


def show(gateway: Gateway, event_id: str, place: Place, offset: int = 0) -> None:
    """As admission and projection do."""
    topic, partition, at = place
    decision = a_decision(
        1, event_id=event_id, topic=topic, topic_id="topic-id", partition=partition, offset=at, routes=[]
    )
    gateway.store.apply([project(decided(decision, partition=partition, first_offset=offset))])


async def get(gateway: Gateway, event_id: str = UNKNOWN_ID) -> Answer:
    return await gateway.ask("GET", f"/v1/events/{event_id}")


def transaction(gateway: Gateway, topic: str, partition: int) -> Producer:
    """One record of a producer whose transaction is open."""
    config = {"bootstrap.servers": gateway.settings.kafka, "transactional.id": f"direct-{topic}"}
    producer = Producer(config)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"{}", partition=partition)
    assert producer.flush(30) == 0
    return producer


async def goes_on(question: "asyncio.Task[Any]") -> bool:
    done, _ = await asyncio.wait([question], timeout=0.3)
    return not done


async def test_a_miss_waits_for_what_another_gateway_has_taken(gateway: Gateway, other: Gateway) -> None:
    event_id, place = await publish(gateway, "orders")
    question = asyncio.create_task(get(other, event_id))
    assert await goes_on(question), "the other gateway can't know yet that there is no such event"
    await asyncio.to_thread(show, gateway, event_id, place)
    assert (await question).status == 200
    assert (await get(other)).status == 404


async def test_a_miss_waits_for_a_stream_that_was_made_a_moment_ago(gateway: Gateway, other: Gateway) -> None:
    assert (await gateway.ask("POST", "/v1/event-streams", {"name": "new"})).status == 201
    event_id, place = await publish(gateway, "new")
    question = asyncio.create_task(get(other, event_id))
    assert await goes_on(question)
    await asyncio.to_thread(show, gateway, event_id, place)
    assert (await question).status == 200


async def test_an_id_as_cursor_is_waited_for_too(gateway: Gateway, other: Gateway) -> None:
    event_id, place = await publish(gateway, "orders")
    question = asyncio.create_task(other.ask("GET", f"/v1/events?cursor={event_id}"))
    assert await goes_on(question)
    await asyncio.to_thread(show, gateway, event_id, place)
    assert (await question).status == 200


@pytest.mark.parametrize("read_timeout_seconds", [0.4])
async def test_past_the_bound_nobody_says_that_there_is_no_such_event(gateway: Gateway, other: Gateway) -> None:
    event_id, _place = await publish(gateway, "orders")
    for one in (gateway, other):
        behind = await get(one, event_id)
        assert (behind.status, behind.code, behind.headers["Retry-After"]) == (503, "read_model_behind", "1")


@pytest.mark.parametrize("end", ["commit_transaction", "abort_transaction"])
async def test_what_a_transaction_leaves_at_the_end_is_waited_for_by_nobody(
    gateway: Gateway, other: Gateway, end: str
) -> None:
    """A control record, and records that were taken back: no decision will ever come of them."""
    topic = topic_of(gateway, "orders")
    producer = await asyncio.to_thread(transaction, gateway, topic, 3)
    await asyncio.to_thread(getattr(producer, end), 30)
    if end == "commit_transaction":
        question = asyncio.create_task(get(other))
        assert await goes_on(question), "its record is still to be decided"
        await asyncio.to_thread(show, gateway, "evt_01HX9YQK2T7V3M4ZB6F5N0WJ1B", (topic, 3, 0))
        assert (await question).status == 404
    assert (await get(other)).status == 404


@pytest.fixture
async def held(gateway: Gateway, other: Gateway) -> AsyncIterator[tuple[Producer, str, Place]]:
    """An event of orders behind a producer's open transaction, of which both gateways know that it lasts."""
    _, (topic, partition, _) = await publish(gateway, "orders", number=1)
    producer = await asyncio.to_thread(transaction, gateway, topic, partition)
    event_id, place = "", ("", -1, -1)
    number = 1
    while place[1] != partition:  # an event's partition is its id's
        number += 1
        event_id, place = await publish(gateway, "orders", number=number)
    yield producer, event_id, place


def all_of(gateway: Gateway, up_to: Place) -> None:
    """Shows what was appended before the transaction: of each partition up to where it can be read."""
    for topic, partition, offset in gateway.clients.events.newest(gateway.workspace, "live"):
        at = 0 if (topic, partition) == up_to[:2] else offset
        show(gateway, f"evt_01HX9YQK2T7V3M4ZB6F5N0000{partition}", (topic, partition, at))


@pytest.mark.requirement("K12")
async def test_an_open_transaction_holds_back_its_own_stream_alone(
    gateway: Gateway, other: Gateway, held: tuple[Producer, str, Place]
) -> None:
    producer, event_id, place = held
    await asyncio.to_thread(all_of, gateway, place)
    paid_id, paid = await publish(gateway, "payments")
    await asyncio.to_thread(show, gateway, paid_id, paid, 9)

    of_payments = await gateway.ask("GET", "/v1/events?stream=payments")
    assert (of_payments.status, [one["id"] for one in of_payments.json["data"]]) == (200, [paid_id])
    assert "Atlas-Incomplete" not in of_payments.headers
    for query in ("", "?stream=orders"):
        of_orders = await gateway.ask("GET", f"/v1/events{query}")
        assert (of_orders.status, of_orders.headers["Atlas-Incomplete"]) == (200, "orders"), query
        assert of_orders.json["data"]
    for one in (gateway, other):
        assert (await get(one, paid_id)).status == 200

    await asyncio.to_thread(producer.commit_transaction, 30)
    marker = asyncio.create_task(get(other, event_id))
    await asyncio.to_thread(show, gateway, event_id, place, 10)
    assert (await marker).status == 200
    whole = await gateway.ask("GET", "/v1/events?stream=orders")
    assert "Atlas-Incomplete" not in whole.headers


@pytest.mark.requirement("K12")
@pytest.mark.parametrize("read_timeout_seconds", [0.8])
async def test_of_an_id_that_may_be_held_back_nobody_says_that_it_is_not_there(
    gateway: Gateway, other: Gateway, held: tuple[Producer, str, Place]
) -> None:
    producer, event_id, place = held
    await asyncio.to_thread(all_of, gateway, place)
    for one in (gateway, other):
        behind = await get(one, event_id)
        assert (behind.status, behind.code) == (503, "read_model_behind")
        assert "orders" in behind.json["error"]["message"] and "transaction" in behind.json["error"]["message"]
    await asyncio.to_thread(producer.abort_transaction, 30)


async def test_a_flood_of_unknown_ids_is_no_flood_of_questions(
    gateway: Gateway, other: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_id, place = await publish(gateway, "orders")
    await asyncio.to_thread(show, gateway, event_id, place)
    asked = {"ends": 0, "control": 0}
    monkeypatch.setattr(LogEnds, "ends", counting(asked, "ends", LogEnds.ends))
    look = TopicEnds.ends

    def counted(ends: TopicEnds, topic: str) -> dict[int, int]:
        asked["control"] += 1
        return look(ends, topic)

    monkeypatch.setattr(TopicEnds, "ends", counted)
    answers = await asyncio.gather(*(get(other) for _ in range(FLOOD)))
    assert {answer.status for answer in answers} == {404}
    print(f"{FLOOD} reads of unknown ids: {asked} questions to the broker")
    assert asked["ends"] <= FLOOD / 4 and asked["control"] <= FLOOD / 4


def counting(asked: dict[str, int], name: str, real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def count(*arguments: Any) -> Any:
        asked[name] += 1
        return await real(*arguments)

    return count


@pytest.mark.parametrize("read_timeout_seconds", [2.0])
async def test_a_stream_that_was_deleted_with_undecided_records_holds_no_list_back(
    gateway: Gateway, other: Gateway
) -> None:
    await publish(gateway, "orders")
    topic = topic_of(gateway, "orders")
    view = gateway.clients.control.view
    key = view.streams_by_topic[topic].to_entity().key
    await asyncio.to_thread(produce, gateway.settings.kafka, Topic.CONTROL, None, key=key)
    await until(lambda: topic not in view.streams_by_topic)
    assert (await gateway.ask("GET", "/v1/events")).status == 200
    assert (await get(gateway)).status == 404


async def test_entities_are_found_at_another_gateway(gateway: Gateway, other: Gateway) -> None:
    workflow = {"id": "wf_made_elsewhere", "name": "elsewhere", "url": "https://example.com/hook"}
    assert (await gateway.ask("POST", "/v1/workflows", workflow)).status == 201
    assert (await other.ask("GET", "/v1/workflows/wf_made_elsewhere")).status == 200
    assert (await other.ask("GET", "/v1/workflows/wf_of_nobody")).status == 404
