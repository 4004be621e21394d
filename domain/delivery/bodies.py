"""The bodies of deliveries, and the headers that belong to a body.

A body is derived from the delivery record only, so it is the same bytes over all attempts. What the producer sent as
JSON (`data`, `actor`, `metadata`) goes out byte-equal: it is never parsed and written again. `deliveredAt` of the spine
is the event's append time, not the time of one attempt.
Rows of docs/requirements.md: S-034 (spine), W-052 (work).
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

SUBSCRIPTION_PREFIXES = (SPINE_SUBSCRIPTION, WORK_WEBHOOK)


class Content(NamedTuple):
    body: bytes
    headers: dict[str, str]


def is_subscribed(delivery: Delivery) -> bool:
    """Whether it goes to a subscription, whose state on `control` decides the form of the body."""
    return delivery.workflow_id.startswith(SUBSCRIPTION_PREFIXES)


def body_of(delivery: Delivery, event: dict[str, Any]) -> bytes:
    """The body for a workflow. `event`: the delivery's Avro `Event`, decoded; its data, actor and metadata are JSON."""
    return b"".join(
        (
            b'{"id":',
            _text(delivery.event_id),
            b',"object":"event","stream":',
            _text(delivery.stream),
            b',"type":',
            _text(event["type"]),
            b',"occurred_at":',
            _text(event["occurred_at"]),
            b',"received_at":',
            _text(rfc3339(delivery.received_ms)),
            b',"data":',
            event["data"],
            b',"actor":',
            event["actor"] or b"null",
            b',"metadata":',
            event["metadata"] or b"null",
            b',"workflow_id":',
            _text(delivery.workflow_id),
            b"}",
        )
    )


def content_for(subscription: Subscription, delivery: Delivery) -> Content:
    """The body for a subscription, in its surface's form or the one that it chose."""
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
