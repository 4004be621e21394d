"""Which outcomes are told as webhooks, and in which words. Pure.

`event.delivered` is told once, when the last of an event's routes has acknowledged, and names that route and its
attempt; `event.failed` once a delivery that is given up; `event.retry_scheduled` once a failed attempt that is followed
by another (A-055, A-056, X-16). An endpoint that answers 410 is told of by nothing: its deliveries
wait. Webhooks are never told of. A replay counts like the delivery that it repeats: it may complete an event.

The table has one `Told` an admission of an event. It names the record by which each webhook was told, so that this very
record, read again, tells it once more with the same id and bytes, and any other record about the same thing doesn't.
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


class Told(msgspec.Struct, frozen=True, array_like=True):
    """`by`: the offset in `outcomes` of the record that told it, by what was told (`_subject`)."""

    acknowledged: tuple[str, ...] = ()
    by: dict[str, int] = {}


NOTHING_TOLD = Told()


class Place(NamedTuple):
    """Where an outcome stands: its offset, and the log's time of it."""

    offset: int
    at_ms: int


class Decided(NamedTuple):
    """What is known from here on, and what is told now, if anything."""

    told: Told
    telling: WebhookType | None = None


def concerns(outcome: Outcome) -> bool:
    """What subscriptions of other surfaces get is told there."""
    if outcome.stream in SYSTEM_STREAMS:
        return False
    return outcome.kind != DeliveryKind.WEBHOOK and outcome.status in _TYPES


def table_key(outcome: Outcome) -> bytes:
    """An event that is admitted again after its key's 24 hours has another history."""
    return f"{outcome.event_id}\0{outcome.received_ms}".encode()


def is_whole_story(outcome: Outcome) -> bool:
    """No other outcome can add to this one or be told because of it."""
    return outcome.routes == 1 and outcome.status == "delivered" and outcome.attempt == 1 and not outcome.replay


def decide(told: Told, outcome: Outcome, place: Place) -> Decided:
    """`outcome` is one that `concerns` this."""
    telling = _TYPES[outcome.status]
    if telling is WebhookType.DELIVERED:
        told = _acknowledge(told, outcome)
        if not outcome.routes or len(told.acknowledged) < outcome.routes:
            return Decided(told)
    subject = _subject(telling, outcome)
    by = told.by.get(subject)
    if by is None:
        return Decided(msgspec.structs.replace(told, by={**told.by, subject: place.offset}), telling)
    return Decided(told, telling if by == place.offset else None)


def webhooks_of(
    telling: WebhookType, outcome: Outcome, place: Place, endpoints: Iterable[WebhookEndpoint]
) -> list[Delivery]:
    """One for each endpoint that has subscribed to it and to the event's stream, and had when it happened."""
    return [
        _webhook(telling, outcome, place, endpoint)
        for endpoint in endpoints
        if telling in endpoint.events
        and (not endpoint.streams or outcome.stream in endpoint.streams)
        and endpoint.created_ms <= place.at_ms
    ]


def _acknowledge(told: Told, outcome: Outcome) -> Told:
    """`routes` is 0 for a route that only a replay reached: the event does not wait for it."""
    if not outcome.routes or outcome.workflow_id in told.acknowledged:
        return told
    return msgspec.structs.replace(told, acknowledged=(*told.acknowledged, outcome.workflow_id))


def _subject(telling: WebhookType, outcome: Outcome) -> str:
    match telling:
        case WebhookType.DELIVERED:
            return ""
        case WebhookType.FAILED:
            return outcome.delivery_id
        case WebhookType.RETRY_SCHEDULED:
            return f"{outcome.delivery_id}/{outcome.attempt}"


def _webhook(telling: WebhookType, outcome: Outcome, place: Place, endpoint: WebhookEndpoint) -> Delivery:
    about = (telling, outcome.delivery_id, str(outcome.attempt), endpoint.id)
    identifier = derived_id(WEBHOOK_DELIVERY, place.at_ms, *(part.encode() for part in about))
    body = {
        "id": identifier,
        "type": telling,
        "created_at": rfc3339(place.at_ms),
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
        at_ms=place.at_ms,
    )
