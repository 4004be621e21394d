"""One story through real processes: published, matched, delivered with a signature that verifies, found again."""

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from confluent_kafka import Producer
from standardwebhooks import Webhook

from schemas.topics import stream_topic
from tests.support.receiver import Receiver, Request, answer
from tests.support.spine_installation import Spine

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
GIVE_UP_SECONDS = 60.0


async def requests(receiver: Receiver, count: int) -> list[Request]:
    return await asyncio.to_thread(receiver.wait_for, count, GIVE_UP_SECONDS)


async def matched(spine: Spine, kind: str, count: int) -> Any:
    """Publishes until admission knows of the subscriptions that were made a moment ago."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while True:
        published = await spine.publish(kind, {"probe": True})
        if published["workflowsTriggered"] == count:
            return published
        assert time.monotonic() < deadline, published


@pytest.mark.requirement("S-004", "S-010", "S-026", "S-023", "S-034", "S-035", "S-055", "X-03", "X-08")
async def test_a_subscription_gets_what_matches_signed_as_the_document_says(spine: Spine, receiver: Receiver) -> None:
    receiver.script("/hook", answer(503), answer(200))
    subscription = await spine.subscribe(receiver.url + "/hook", "code.*", secret=SECRET)
    await spine.subscribe(receiver.url + "/ce", "code.*", format="cloudevents")
    published = await matched(spine, "code.analysis.complete", 2)
    await spine.publish("lead.scored")
    found = await requests(receiver, 2)
    hook = next(one for one in found if one.path == "/hook")
    body = json.loads(hook.body)
    assert body["subscriptionId"] == subscription
    assert body["event"] == {
        "eventId": published["eventId"],
        "type": "code.analysis.complete",
        "source": "tests",
        "timestamp": published["timestamp"],
        "data": {"probe": True},
    }
    assert hook.headers["x-signature"] == "sha256=" + hmac.new(SECRET.encode(), hook.body, hashlib.sha256).hexdigest()
    assert Webhook(SECRET).verify(hook.body, hook.headers) == body
    cloudevent = next(one for one in found if one.path == "/ce")
    assert cloudevent.headers["content-type"] == "application/cloudevents+json"
    assert json.loads(cloudevent.body)["id"] == published["eventId"]
    assert not [one for one in receiver.requests if b"lead.scored" in one.body]


@pytest.mark.requirement("S-015", "S-021", "S-025", "S-032")
async def test_the_chain_of_a_correlation_id_shows_who_reacted(spine: Spine, receiver: Receiver) -> None:
    subscription = await spine.subscribe(receiver.url + "/hook", "lead.*")
    await matched(spine, "lead.probe", 1)
    for kind in ("code.commit", "lead.scored", "contract.created"):
        await spine.publish(kind, {"of": kind}, correlationId="run-gh-001")
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while True:
        chain = (await spine.ask("GET", "/v1/events/correlations/run-gh-001")).json
        reacted = [event["deliveries"] for event in chain["events"]]
        if reacted[1] and reacted[1][0]["status"] == "delivered":
            break
        assert time.monotonic() < deadline, chain
        await asyncio.sleep(0.1)
    assert [event["type"] for event in chain["events"]] == ["code.commit", "lead.scored", "contract.created"]
    assert chain["events"][0]["data"] == {"of": "code.commit"}
    assert [len(each) for each in reacted] == [0, 1, 0] and reacted[1][0]["subscriptionId"] == subscription
    page = (await spine.ask("GET", "/v1/events?type=*.scored")).json
    assert (page["total"], page["events"][0]["metadata"]) == (1, {"correlationId": "run-gh-001"})


@pytest.mark.requirement("S-032")
async def test_a_deleted_subscription_gets_nothing_more(spine: Spine, receiver: Receiver) -> None:
    subscription = await spine.subscribe(receiver.url + "/hook", "*")
    await matched(spine, "code.a", 1)
    assert (await spine.ask("DELETE", f"/v1/events/subscriptions/{subscription}")).status == 204
    await matched(spine, "code.b", 0)
    before = len(receiver.requests)
    await spine.subscribe(receiver.url + "/other", "*")
    await matched(spine, "code.c", 1)
    found = await requests(receiver, before + 1)
    assert {one.path for one in found[before:] if b"code.c" in one.body} == {"/other"}


@pytest.mark.requirement("S-004", "K10")
async def test_cloudevents_of_kafka_producers_are_events_of_the_spine(spine: Spine, receiver: Receiver) -> None:
    await spine.subscribe(receiver.url + "/hook", "com.example.*", format="cloudevents")
    await matched(spine, "com.example.probe", 1)
    producer = Producer({"bootstrap.servers": spine.settings.kafka})
    headers = {"ce_specversion": "1.0", "ce_id": "A-1", "ce_source": "/mycontext", "ce_type": "com.example.someevent"}
    topic = stream_topic(spine.workspace, "live", "spine")
    for _ in range(2):  # the same event twice
        producer.produce(topic, b'{"n": 1.0}', headers={**headers, "content-type": "application/json"})
    refused = {**headers, "ce_id": "A-2", "content-type": "application/json"}
    producer.produce(topic, b"no json", headers=refused)
    producer.flush(10)
    deadline = time.monotonic() + GIVE_UP_SECONDS
    # A 503 says that the read model is behind, which it may be on a busy machine: asked again, as a client does.
    while (page := (await spine.ask("GET", "/v1/events?source=/mycontext")).json).get("total", 0) < 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert [event["data"] for event in page["events"]] == [{"n": 1.0}]
    while not (delivered := [one for one in receiver.requests if b"A-1" in one.body]):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert json.loads(delivered[0].body)["source"] == "/mycontext"
