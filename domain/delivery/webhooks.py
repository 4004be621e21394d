"""Webhooks: what webhook endpoints get about events, in the shape that the API documents.

Rows of docs/requirements.md: A-056, A-061 to A-063. An endpoint is a `schemas.entities.WebhookEndpoint`; a webhook goes
out as a `Delivery` of kind `webhook`, whose `event` is the body as it is sent, and whose id is the webhook's.
"""

from enum import StrEnum

import orjson

from schemas.entities import WebhookEndpoint
from schemas.ids import WEBHOOK_DELIVERY, derived_id
from schemas.records import Delivery
from schemas.times import rfc3339

ENDPOINTS_MAX = 20
"""For each workspace, over both environments: every endpoint can get a delivery for each outcome."""


class DeliveryKind(StrEnum):
    EVENT = "event"
    WEBHOOK = "webhook"


class WebhookType(StrEnum):
    """What an endpoint can subscribe to. `webhook.test` is sent on request."""

    DELIVERED = "event.delivered"
    FAILED = "event.failed"
    RETRY_SCHEDULED = "event.retry_scheduled"


TEST = "webhook.test"


def trial_webhook(endpoint: WebhookEndpoint, command_id: str, at_ms: int) -> Delivery:
    """What `POST /v1/webhook-endpoints/{id}/test` sends; the same command gives the same webhook."""
    identifier = derived_id(WEBHOOK_DELIVERY, at_ms, TEST.encode(), command_id.encode(), endpoint.id.encode())
    body = {
        "id": identifier,
        "type": TEST,
        "created_at": rfc3339(at_ms),
        "data": {"webhook_endpoint_id": endpoint.id},
    }
    return webhook_delivery(endpoint, identifier, orjson.dumps(body), event_id=identifier, stream="", at_ms=at_ms)


def webhook_delivery(
    endpoint: WebhookEndpoint, identifier: str, body: bytes, *, event_id: str, stream: str, at_ms: int
) -> Delivery:
    return Delivery(
        delivery_id=identifier,
        event_id=event_id,
        workspace=endpoint.workspace,
        environment=endpoint.environment,
        stream=stream,
        workflow_id=endpoint.id,
        received_ms=at_ms,
        event=body,
        kind=DeliveryKind.WEBHOOK,
    )


def delivery_key(delivery: Delivery) -> bytes:
    """The record's key on `deliveries`: the endpoint, so that one worker gets all deliveries of an endpoint."""
    return f"{delivery.workspace}/{delivery.environment}/{delivery.workflow_id}".encode()
