"""Commands about webhook endpoints and signing secrets."""

from typing import ClassVar

import msgspec

from schemas.commands.fields import OVERLAP_SECONDS_DEFAULT, OverlapSeconds, StreamName
from schemas.commands.payload import Payload


class RotateSecret(Payload, frozen=True, kw_only=True):
    """Deliveries to a workflow or webhook endpoint are signed with a new secret, and for `overlap_seconds` with the
    previous one as well. Answer 200: `Workflow` or `WebhookEndpoint`. 404 `workflow_not_found`,
    `webhook_endpoint_not_found`; 409 `workflow_not_signed` (records written to a topic have no signature).
    """

    kind: ClassVar[str] = "secret.rotate"
    id: str
    overlap_seconds: OverlapSeconds = OVERLAP_SECONDS_DEFAULT


class CreateWebhookEndpoint(Payload, frozen=True, kw_only=True):
    """`events`: types of domain/delivery/webhooks.py; no `streams`: all of them. Answer 201: `WebhookEndpoint`. 409
    `webhook_endpoint_limit_reached`.
    """

    kind: ClassVar[str] = "webhook_endpoint.create"
    url: str
    events: list[str]
    streams: list[StreamName] = []
    description: str | None = None


class DeleteWebhookEndpoint(Payload, frozen=True, kw_only=True):
    """Answer 204. 404 `webhook_endpoint_not_found`."""

    kind: ClassVar[str] = "webhook_endpoint.delete"
    id: str


class TryWebhookEndpoint(Payload, frozen=True, kw_only=True):
    """The endpoint gets a `webhook.test`. Answer 202: `WebhookTrial`. 404 `webhook_endpoint_not_found`."""

    kind: ClassVar[str] = "webhook_endpoint.test"
    id: str


class WebhookTrial(msgspec.Struct, frozen=True, kw_only=True):
    """The body of the answer to `webhook_endpoint.test`: the id that the webhook carries."""

    id: str
