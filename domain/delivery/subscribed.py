"""What a subscription is sent: the body and headers of its surface and of the form that it asked for. Pure.

Like every body it derives from the delivery record alone, so it is the same bytes over all attempts: `deliveredAt` is
when Atlas took the event to deliver it (its append time), not when one attempt was made. `data` goes out byte-equal.
Sources: the event spine document, Webhook Payload (S-034); the AtlasWork document, Webhooks (W-052).
"""

from typing import Any, NamedTuple

import orjson

from domain.events.cloudevents import STRUCTURED, render_structured
from domain.events.spine_events import source_of
from schemas.codec import EVENT
from schemas.entities import PayloadFormat, Subscription, SubscriptionSurface
from schemas.ids import SPINE_SUBSCRIPTION, WORK_WEBHOOK
from schemas.records import Delivery
from schemas.times import rfc3339

PREFIXES = (SPINE_SUBSCRIPTION, WORK_WEBHOOK)


class Content(NamedTuple):
    body: bytes
    headers: dict[str, str]


def is_subscribed(delivery: Delivery) -> bool:
    """Whether it goes to a subscription, whose state says what is sent."""
    return delivery.workflow_id.startswith(PREFIXES)


def content_for(subscription: Subscription, delivery: Delivery) -> Content:
    event = EVENT.decode_body(delivery.event)
    if subscription.payload_format is PayloadFormat.CLOUDEVENTS:
        return Content(render_structured(delivery.event_id, event), {"Content-Type": STRUCTURED})
    if subscription.surface is SubscriptionSurface.WORK:
        return Content(_work_body(delivery, event), {"X-Atlas-Event": event["type"]})
    return Content(_spine_body(subscription, delivery, event), {})


def _spine_body(subscription: Subscription, delivery: Delivery, event: dict[str, Any]) -> bytes:
    return b"".join(
        (
            b'{"subscriptionId":',
            _text(subscription.id),
            b',"deliveredAt":',
            _text(rfc3339(delivery.received_ms)),
            b',"event":{"eventId":',
            _text(delivery.event_id),
            b',"type":',
            _text(event["type"]),
            b',"source":',
            _text(source_of(event["actor"])),
            b',"timestamp":',
            _text(event["occurred_at"]),
            b',"data":',
            event["data"],
            b"}}",
        )
    )


def _work_body(delivery: Delivery, event: dict[str, Any]) -> bytes:
    return b"".join(
        (
            b'{"id":',
            _text(delivery.event_id),
            b',"type":',
            _text(event["type"]),
            b',"createdAt":',
            _text(event["occurred_at"]),
            b',"data":',
            event["data"],
            b"}",
        )
    )


def _text(value: str) -> bytes:
    return orjson.dumps(value)
