"""The event spine: types, subscriptions, chains."""

from typing import Any

from tests.corpus.story.client import SECRET, Story
from tests.support.receiver import answer


async def spine(story: Story) -> None:
    at = story.receiver.url
    story.receiver.script("/spine", answer(503), answer(200))
    subscribed = {"eventTypes": ["code.*"], "webhookUrl": f"{at}/spine", "secret": SECRET, "description": "CI"}
    kept = await story.made("spine", "/v1/events/subscriptions", subscribed)
    cloudevents = {"eventTypes": ["code.*"], "webhookUrl": f"{at}/ce", "secret": SECRET, "format": "cloudevents"}
    await story.made("spine", "/v1/events/subscriptions", cloudevents)
    gone = await story.made("spine", "/v1/events/subscriptions", subscribed | {"eventTypes": ["*"]})
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await story.good("spine", "PUT", "/v1/event-types/code.done", {"description": "Done", "schema": schema})
    wider = schema | {"properties": {"n": {"type": "integer"}, "m": {"type": "string"}}}
    await story.good("spine", "PUT", "/v1/event-types/code.done", {"description": "Done", "schema": wider})
    await story.good("spine", "DELETE", f"/v1/events/subscriptions/{gone['subscriptionId']}")
    for number in range(3):
        event = {
            "type": "code.done",
            "source": "ci",
            "data": {"n": number},
            "metadata": {"correlationId": "run-1"},
        }
        await story.made("spine", "/v1/events", event, Idempotency_Key=f"run-{number}")
    chain = "/v1/events/correlations/run-1"

    def reacted(told: Any) -> bool:
        deliveries = [one for event in told["events"] for one in event["deliveries"]]
        return bool(deliveries) and all(one["status"] == "delivered" for one in deliveries)

    await story.until("spine", chain, reacted)
    story.reads += [("spine", chain), ("spine", "/v1/events?type=code.*"), ("spine", "/v1/event-types/code.done")]
    assert kept["subscriptionId"]
