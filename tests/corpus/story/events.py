"""The events API: streams, workflows, events, replays, webhooks, and endpoints that fail."""

import json

from tests.corpus import adapter
from tests.corpus.story.client import EVENT, UNREACHABLE_URL, Story
from tests.support.receiver import answer


async def events(story: Story) -> None:
    at = story.receiver.url
    for name in ("billing", "search"):
        await story.made("events", "/v1/workflows", {"id": f"wf_{name}", "name": name.title(), "url": f"{at}/{name}"})
    await story.made(
        "events",
        "/v1/workflows",
        {"id": "wf_slow", "name": "Slow", "url": f"{UNREACHABLE_URL}/slow", "ordering": "per_key"},
    )
    topic = f"routes.{story.workspace}.live.lake"
    await story.made("events", "/v1/workflows", {"id": "wf_lake", "name": "Lake", "kind": "kafka", "topic": topic})
    await story.made("events", "/v1/workflows", {"id": "wf_gone", "name": "Gone", "url": f"{at}/gone"})
    await story.made("events", "/v1/webhook-endpoints", {"url": f"{at}/outcomes", "description": "All of them"})
    shy = await story.made(
        "events", "/v1/webhook-endpoints", {"url": f"{at}/shy", "events": ["event.failed"], "streams": ["orders"]}
    )
    await story.made(
        "events", "/v1/event-streams", {"name": "orders", "default_routes": ["wf_billing", "wf_search", "wf_lake"]}
    )
    await story.made("events", "/v1/event-streams", {"name": "slow", "default_routes": ["wf_slow"]})
    await story.made("events", "/v1/event-streams", {"name": "gone", "default_routes": ["wf_gone"]})
    await story.made("events", "/v1/event-streams", {"name": "brief", "retention_days": 1})
    await story.made("events", "/v1/event-streams", {"name": "orders"}, key="test")
    changes = {"description": "What was shipped", "retention_days": 30}
    changed = await story.ask("events", "PATCH", "/v1/event-streams/orders", changes)
    story.positions.append(changed.headers["Atlas-Position"])
    story.receiver.script("/search", answer(503, b"later", "Retry-After: 0"), answer(200, b"ok"))
    story.receiver.script("/gone", answer(410), answer(200))
    await _publish(story)
    await _webhooks(story, shy["id"])
    await _deleted_streams(story)


async def _publish(story: Story) -> None:
    sent = await story.ask("events", "POST", "/v1/events", EVENT | {"data": {"n": 1, "price": 1.10, "name": "Zoë"}})
    first = sent.json
    story.positions.append(sent.headers["Atlas-Position"])
    keyed = EVENT | {
        "data": {"n": 2},
        "actor": {"id": "usr_1", "type": "user"},
        "metadata": {"trace": "t-1", "ordering_key": "order-2"},
    }
    second = await story.made("events", "/v1/events", keyed, Idempotency_Key="order-2")
    again = await story.made("events", "/v1/events", keyed, Idempotency_Key="order-2")
    assert again["id"] == second["id"]
    conflict = await story.ask("events", "POST", "/v1/events", keyed | {"data": {"n": 3}}, Idempotency_Key="order-2")
    assert conflict.status == 409, conflict.body
    batch = [EVENT | {"data": {"n": n}, "idempotency_key": f"batch-{n}"} for n in range(3)]
    await story.made("events", "/v1/events/batch", {"events": [*batch, batch[0]]})
    lines = "\n".join(json.dumps(EVENT | {"type": "order.line", "data": {"n": n}}) for n in range(3)).encode()
    await story.made("events", "/v1/events/batch", lines, Content_Type="application/x-ndjson")
    await story.made("events", "/v1/events", EVENT | {"data": {"in": "test"}}, key="test")
    for event in (first, second):
        await story.until("events", f"/v1/events/{event['id']}", lambda told: told["status"] == "delivered")
        story.reads.append(("events", f"/v1/events/{event['id']}"))
    replay = await story.made("events", f"/v1/events/{first['id']}/replay", {"workflows": ["wf_billing"]})
    whole = await story.made("events", "/v1/replays", {"stream": "orders", "from": "2026-05-18T00:00:00Z"})
    await story.until("events", f"/v1/replays/{whole['id']}", lambda told: told["status"] == "completed")
    story.reads += [("events", f"/v1/replays/{whole['id']}")]
    assert replay["id"]


async def _webhooks(story: Story, shy: str) -> None:
    await story.made("events", f"/v1/webhook-endpoints/{shy}/test", None)
    await story.made("events", f"/v1/webhook-endpoints/{shy}/rotate-secret", {"overlap_seconds": 3600})
    await story.made("events", f"/v1/webhook-endpoints/{shy}/reactivate", None)
    await story.made("events", "/v1/workflows/wf_billing/rotate-secret", {})
    gone = await story.made("events", "/v1/events", EVENT | {"stream": "gone", "data": {}})
    await story.until("events", "/v1/workflows/wf_gone", lambda told: told["status"] == "disabled")
    await story.made("events", "/v1/workflows/wf_gone/reactivate", None)
    await story.until("events", f"/v1/events/{gone['id']}", lambda told: told["status"] == "delivered")
    await story.good("events", "DELETE", f"/v1/webhook-endpoints/{shy}")
    story.reads += [("events", f"/v1/events/{gone['id']}"), ("events", "/v1/webhook-endpoints")]


async def _deleted_streams(story: Story) -> None:
    topic = f"routes.{story.workspace}.live.short"
    await story.made("events", "/v1/workflows", {"id": "wf_short", "name": "S", "kind": "kafka", "topic": topic})
    await story.good("events", "DELETE", "/v1/workflows/wf_short")
    stream = await story.good("events", "GET", "/v1/event-streams/brief")
    await story.good("events", "DELETE", "/v1/event-streams/brief")
    told = adapter.command("route_topic.expired", story.workspace, "live", {"topic": topic})
    for key, value in (
        told,
        adapter.command("stream.expired", story.workspace, "live", {"stream_id": stream["id"]}),
    ):
        story.producer.produce("commands", value, key)  # as control writes them when the time is over
    story.producer.flush(10)
