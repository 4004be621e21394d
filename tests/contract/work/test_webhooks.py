"""Webhooks from end to end: a task changes, and who subscribed is told, signed; deliveries are listed and replayed."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from domain.delivery.retry_schedule import RETRY_SCHEDULES, EndpointClass
from tests.support.receiver import Receiver, Request, answer
from tests.support.work_installation import Answer, WorkSurface

GIVE_UP_SECONDS = 30.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def a_webhook(work: WorkSurface, url: str, *events: str) -> Any:
    return await work.made("/v1/webhooks", {"url": url, "events": list(events)})


async def received(receiver: Receiver, count: int) -> list[Request]:
    return await asyncio.to_thread(receiver.wait_for, count, GIVE_UP_SECONDS)


async def deliveries(work: WorkSurface, webhook: Any, count: int, query: str = "") -> list[Any]:
    """Once there are so many."""
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while True:
            listed = await work.ask("GET", f"/v1/webhooks/{webhook['id']}/deliveries{query}")
            assert listed.status == 200, listed.body
            if len(listed.json["items"]) >= count:
                items: list[Any] = listed.json["items"]
                return items
            await asyncio.sleep(0.05)


@pytest.mark.requirement("W-052", "W-053", "W-054", "W-057", "X-03", "X-09")
async def test_a_change_is_told(work: WorkSurface, receiver: Receiver) -> None:
    webhook = await a_webhook(work, receiver.url + "/hook", "task.created", "task.deleted")
    task = await work.made("/v1/tasks", {"projectId": await work.a_project(), "title": "Über allem"})
    await work.ask("PATCH", f"/v1/tasks/{task['id']}", {"title": "Unheard"})
    (created,) = await received(receiver, 1)
    assert created.headers["x-atlas-event"] == "task.created"
    signature = hmac.new(webhook["secret"].encode(), created.body, hashlib.sha256).hexdigest()
    assert created.headers["x-atlas-signature"] == f"sha256={signature}"
    assert Webhook(webhook["secret"]).verify(created.body, created.headers) == json.loads(created.body)
    told = json.loads(created.body)
    assert (told["type"], told["data"]) == ("task.created", {"task": task})
    await work.ask("DELETE", f"/v1/tasks/{task['id']}")
    _, deleted = await received(receiver, 2)
    assert json.loads(deleted.body)["data"] == {
        "task": {"id": task["id"], "projectId": task["projectId"], "version": 2}
    }
    newest, oldest = await deliveries(work, webhook, 2)
    assert (oldest["id"], oldest["event"]) == (created.headers["x-atlas-delivery"], "task.created")
    assert (newest["status"], newest["attempts"], newest["responseStatus"]) == ("delivered", 1, 200)


@pytest.mark.requirement("W-056")
async def test_a_failed_delivery_is_replayed(work: WorkSurface, receiver: Receiver) -> None:
    receiver.script("/hook", answer(400), answer(200))
    webhook = await a_webhook(work, receiver.url + "/hook", "project.created")
    await work.a_project()
    (first,) = await received(receiver, 1)
    path = f"/v1/webhooks/{webhook['id']}/deliveries/{first.headers['x-atlas-delivery']}/replay"
    await deliveries(work, webhook, 1, "?status=retrying")
    replayed = await work.ask("POST", path, headers={"Idempotency-Key": "k"})
    assert replayed.status == 202, replayed.body
    found = {one.headers["x-atlas-delivery"]: one for one in await received(receiver, 2)}
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while replayed.json["deliveryId"] not in found:
            found = {one.headers["x-atlas-delivery"]: one for one in receiver.requests}
            await asyncio.sleep(0.05)
    again = found[replayed.json["deliveryId"]]
    assert again.body == first.body and again.headers["x-atlas-replay"] == "1"
    assert (await work.ask("POST", path, headers={"Idempotency-Key": "k"})).json == replayed.json
    unknown = await work.ask("POST", path.replace("dlv_", "dlv_0"))
    assert (unknown.status, unknown.code) == (404, "delivery_not_found")


@pytest.mark.requirement("W-055", "X-03")
async def test_a_failed_delivery_is_tried_again_as_works_schedule_says(work: WorkSurface, receiver: Receiver) -> None:
    """A second after the first attempt failed, where a workflow of the events API would wait half a minute; the second
    attempt is the same request.
    """
    receiver.script("/hook", answer(500), answer(200))
    webhook = await a_webhook(work, receiver.url + "/hook", "project.created")
    await work.a_project()
    first, second = await received(receiver, 2)
    assert second.at - first.at >= RETRY_SCHEDULES[EndpointClass.WORK].steps_ms[0] / 1_000
    assert second.body == first.body
    assert second.headers["x-atlas-delivery"] == first.headers["x-atlas-delivery"]
    (told,) = await deliveries(work, webhook, 1, "?status=delivered")
    assert (told["attempts"], told["responseStatus"], told["nextAttemptAt"]) == (2, 200, None)


async def test_a_webhook_is_tried(work: WorkSurface, receiver: Receiver) -> None:
    webhook = await a_webhook(work, receiver.url + "/hook", "task.created")
    tried = await work.ask("POST", f"/v1/webhooks/{webhook['id']}/test")
    assert (tried.status, tried.json["event"]) == (202, "webhook.test")
    (test,) = await received(receiver, 1)
    assert test.headers["x-atlas-event"] == "webhook.test"
    assert test.headers["x-atlas-delivery"] == tried.json["deliveryId"]
    assert json.loads(test.body)["data"] == {"webhook": {"id": webhook["id"]}}
    path = f"/v1/webhooks/{webhook['id']}/deliveries/{tried.json['deliveryId']}/replay"
    assert (await work.ask("POST", path)).status == 202
    await received(receiver, 2)


async def test_a_webhook_from_its_making_to_its_end(work: WorkSurface, receiver: Receiver) -> None:
    webhook = await a_webhook(work, receiver.url + "/hook", "task.created")
    path = f"/v1/webhooks/{webhook['id']}"
    shown = (await work.ask("GET", path)).json
    assert shown == {name: value for name, value in webhook.items() if name not in ("secret", "previousSecretUntil")}
    assert (await work.ask("GET", "/v1/webhooks")).json == {"items": [shown], "nextCursor": None}
    changed = await work.ask("PATCH", path, {"events": ["project.created"], "description": "Board"})
    assert changed.json == {**shown, "events": ["project.created"], "description": "Board"}
    rotated = await work.ask("POST", path + "/rotate-secret")
    assert rotated.status == 200 and rotated.json["secret"] != webhook["secret"]
    await work.a_project()
    (told,) = await received(receiver, 1)
    for secret in (webhook["secret"], rotated.json["secret"]):
        Webhook(secret).verify(told.body, told.headers)
    assert (await work.ask("POST", path + "/reactivate")).json == changed.json
    assert (await work.ask("DELETE", path)).status == 204
    gone: list[Answer] = [await work.ask("GET", path), await work.ask("DELETE", path)]
    assert {(one.status, one.code) for one in gone} == {(404, "webhook_not_found")}


@pytest.mark.requirement("W-052")
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["url", "events"]),
        ({"url": "ftp://x.example", "events": []}, ["url", "events"]),
        (
            {"url": "https://x.example", "events": ["task.*", "task.created", "task.created"]},
            ["events[0]", "events[2]"],
        ),
        ({"url": "https://x.example", "events": "task.created", "secret": "mine"}, ["secret", "events"]),
    ],
)
async def test_webhooks_that_are_none(work: WorkSurface, body: dict[str, object], fields: list[str]) -> None:
    refused = await work.ask("POST", "/v1/webhooks", body)
    assert (refused.status, refused.fields) == (400, fields)
