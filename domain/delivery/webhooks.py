"""Webhooks: what Atlas tells subscribed endpoints about events, in the document's shape. Pure.

Rows of docs/requirements.md: A-056, A-061 to A-063. An endpoint is a `schemas.entities.WebhookEndpoint`; a webhook goes
out as a `Delivery` of kind `webhook`, whose `event` is the body as it is sent and whose id is the webhook's.
"""

from enum import StrEnum

import orjson

from schemas.entities import WebhookEndpoint
from schemas.ids import WEBHOOK_DELIVERY, derived_id
from schemas.records import Delivery
from schemas.times import rfc3339

ENDPOINTS_MAX = 20
"""Of a workspace, in both environments: each gets a delivery an outcome."""


class DeliveryKind(StrEnum):
    EVENT = "event"
    WEBHOOK = "webhook"


class WebhookType(StrEnum):
    """What an endpoint can subscribe to; `webhook.test` comes when it is asked for."""

    DELIVERED = "event.delivered"
    FAILED = "event.failed"
    RETRY_SCHEDULED = "event.retry_scheduled"


TEST = "webhook.test"


def trial_webhook(endpoint: WebhookEndpoint, command_id: str, at_ms: int) -> Delivery:
    """What `POST /v1/webhook-endpoints/{id}/test` has sent; the same command gives the same one."""
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
    """The record's key on `deliveries`: the endpoint, so that one worker has all of one endpoint's."""
    return f"{delivery.workspace}/{delivery.environment}/{delivery.workflow_id}".encode()
