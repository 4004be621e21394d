"""The rules of webhook endpoints, and of signing secrets. Pure."""

import msgspec

from domain.control.tenants import changed, resource_of, target
from domain.control.values import Asked, Changes, Done, Facts, Refused, absent, body_of
from domain.delivery.webhooks import ENDPOINTS_MAX, trial_webhook
from schemas.commands import (
    CreateWebhookEndpoint,
    DeleteWebhookEndpoint,
    RotateSecret,
    TryWebhookEndpoint,
    WebhookTrial,
)
from schemas.entities import Subscription, WebhookEndpoint, Workflow
from schemas.ids import WEBHOOK_ENDPOINT, derived_id

NAME = "The webhook endpoint"  # as errors of its deliveries call it


def create(facts: Facts, asked: Asked, payload: CreateWebhookEndpoint) -> Done:
    command = asked.command
    if facts.endpoints_counted(command.workspace) >= ENDPOINTS_MAX:
        message = f"The workspace has {ENDPOINTS_MAX} webhook endpoints, which is as many as it may have."
        raise Refused(409, "webhook_endpoint_limit_reached", message)
    endpoint = WebhookEndpoint(
        id=derived_id(WEBHOOK_ENDPOINT, asked.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        created_ms=asked.append_ms,
        name=NAME,
        url=payload.url,
        events=payload.events,
        streams=payload.streams,
        description=payload.description,
    )
    return Done(201, Changes(put=(endpoint.to_entity(asked.version),)), resource_of(endpoint), body_of(endpoint))


def delete(facts: Facts, asked: Asked, payload: DeleteWebhookEndpoint) -> Done:
    endpoint = _endpoint(facts, asked, payload.id)
    return Done(204, Changes(gone=(endpoint.to_entity(asked.version),)), resource_of(endpoint))


def send_trial(facts: Facts, asked: Asked, payload: TryWebhookEndpoint) -> Done:
    endpoint = _endpoint(facts, asked, payload.id)
    delivery = trial_webhook(endpoint, asked.command.id, asked.append_ms)
    body = msgspec.json.encode(WebhookTrial(id=delivery.delivery_id))
    return Done(202, Changes(deliveries=(delivery,)), resource_of(endpoint), body)


def rotate_secret(facts: Facts, asked: Asked, payload: RotateSecret) -> Done:
    """Of whatever Atlas issued it for. Rotated again within an overlap, the secret before the last one ends."""
    before = target(facts, asked, payload.id)
    if isinstance(before, Workflow) and before.topic:
        raise Refused(409, "workflow_not_signed", "What is written to a topic has no signature, so there is no secret.")
    if isinstance(before, Subscription) and before.sealed_secret:
        message = "The subscriber chose the secret; another subscription can have another."
        raise Refused(409, "secret_not_issued", message)
    until_ms = asked.append_ms + payload.overlap_seconds * 1_000
    return changed(
        asked,
        msgspec.structs.replace(
            before,
            secret_version=before.secret_version + 1,
            previous_until_ms=until_ms if payload.overlap_seconds else None,
        ),
    )


def _endpoint(facts: Facts, asked: Asked, endpoint_id: str) -> WebhookEndpoint:
    command = asked.command
    endpoint = facts.endpoint(command.workspace, command.environment, endpoint_id)
    if endpoint is None:
        raise absent("webhook_endpoint_not_found")
    return endpoint
