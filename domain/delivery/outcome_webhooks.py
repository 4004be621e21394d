"""Which outcomes webhook endpoints are notified of, and what the webhooks say.

`event.delivered` is sent once, when the last of an event's routes has acknowledged; it names that route and its
attempt. `event.failed` is sent once for each delivery that is exhausted, `event.retry_scheduled` once for each failed
attempt that is followed by another (A-055, A-056, X-16). There is no webhook about an endpoint that answered 410, since
its deliveries wait, and none about webhooks. A replay counts like the delivery that it repeats: it may complete an
event.

The table has one `Notified` for each admission of an event. It names the record that caused each webhook. So that
record, read again, causes the same webhook with the same id and bytes; any other record about the same thing does not.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import orjson

from domain.delivery.webhooks import DeliveryKind, WebhookType, webhook_delivery
from schemas.entities import WebhookEndpoint
from schemas.ids import WEBHOOK_DELIVERY, derived_id
from schemas.records import Delivery, Outcome
from schemas.times import rfc3339
from schemas.topics import SYSTEM_STREAMS

_TYPES = {
    "delivered": WebhookType.DELIVERED,
    "exhausted": WebhookType.FAILED,
    "retry_scheduled": WebhookType.RETRY_SCHEDULED,
}


class Notified(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one admission. `acknowledged`: the routes that have. `by`: by a webhook's `_subject`, the
    offset in `outcomes` of the record that caused it.
    """

    acknowledged: tuple[str, ...] = ()
    by: dict[str, int] = {}


NOTHING_NOTIFIED = Notified()


class OutcomePosition(NamedTuple):
    """The offset of an outcome's record, and its time on the log."""

    offset: int
    at_ms: int


class NotificationDecision(NamedTuple):
    """What is known from now on, and the webhook that is sent now, if any."""

    notified: Notified
    webhook: WebhookType | None = None


def concerns(outcome: Outcome) -> bool:
    """Outcomes of system streams concern the subscriptions of other surfaces."""
    if outcome.stream in SYSTEM_STREAMS:
        return False
    return outcome.kind != DeliveryKind.WEBHOOK and outcome.status in _TYPES


def table_key(outcome: Outcome) -> bytes:
    """An event that is admitted again, after the 24 hours of its idempotency key, has another history."""
    return f"{outcome.event_id}\0{outcome.received_ms}".encode()


def is_whole_story(outcome: Outcome) -> bool:
    """Whether no other outcome can add to this one, or cause a webhook because of it."""
    return outcome.routes == 1 and outcome.status == "delivered" and outcome.attempt == 1 and not outcome.replay


def decide(notified: Notified, outcome: Outcome, position: OutcomePosition) -> NotificationDecision:
    """`outcome` is one that `concerns` webhook endpoints."""
    webhook = _TYPES[outcome.status]
    if webhook is WebhookType.DELIVERED:
        notified = _acknowledge(notified, outcome)
        if not outcome.routes or len(notified.acknowledged) < outcome.routes:
            return NotificationDecision(notified)
    subject = _subject(webhook, outcome)
    by = notified.by.get(subject)
    if by is None:
        return NotificationDecision(
            msgspec.structs.replace(notified, by={**notified.by, subject: position.offset}), webhook
        )
    return NotificationDecision(notified, webhook if by == position.offset else None)


def webhooks_of(
    webhook: WebhookType, outcome: Outcome, position: OutcomePosition, endpoints: Iterable[WebhookEndpoint]
) -> list[Delivery]:
    """One for each endpoint that subscribed to the type and to the event's stream, and existed when it happened."""
    return [
        _webhook(webhook, outcome, position, endpoint)
        for endpoint in endpoints
        if webhook in endpoint.events
        and (not endpoint.streams or outcome.stream in endpoint.streams)
        and endpoint.created_ms <= position.at_ms
    ]


def _acknowledge(notified: Notified, outcome: Outcome) -> Notified:
    """`outcome.routes` is 0 for a route that only a replay reached: the event does not wait for it."""
    if not outcome.routes or outcome.workflow_id in notified.acknowledged:
        return notified
    return msgspec.structs.replace(notified, acknowledged=(*notified.acknowledged, outcome.workflow_id))


def _subject(webhook: WebhookType, outcome: Outcome) -> str:
    match webhook:
        case WebhookType.DELIVERED:
            return ""
        case WebhookType.FAILED:
            return outcome.delivery_id
        case WebhookType.RETRY_SCHEDULED:
            return f"{outcome.delivery_id}/{outcome.attempt}"


def _webhook(webhook: WebhookType, outcome: Outcome, position: OutcomePosition, endpoint: WebhookEndpoint) -> Delivery:
    about = (webhook, outcome.delivery_id, str(outcome.attempt), endpoint.id)
    identifier = derived_id(WEBHOOK_DELIVERY, position.at_ms, *(part.encode() for part in about))
    body = {
        "id": identifier,
        "type": webhook,
        "created_at": rfc3339(position.at_ms),
        "data": {
            "event_id": outcome.event_id,
            "stream": outcome.stream,
            "workflow_id": outcome.workflow_id,
            "attempt": outcome.attempt,
            "latency_ms": max(0, outcome.completed_ms - outcome.received_ms),
        },
    }
    return webhook_delivery(
        endpoint,
        identifier,
        orjson.dumps(body),
        event_id=outcome.event_id,
        stream=outcome.stream,
        at_ms=position.at_ms,
    )
