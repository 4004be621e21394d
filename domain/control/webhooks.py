"""The rules of webhook endpoints and signing secrets."""

import msgspec

from domain.control.handlers import Handlers, RequestHandler
from domain.control.tenants import changed, resource_of, target
from domain.control.values import CommandChanges, CommandRefused, CommandRequest, Done, Facts, absent, body_of
from domain.delivery.webhooks import ENDPOINTS_MAX, trial_webhook
from schemas.commands.webhooks import (
    CreateWebhookEndpoint,
    DeleteWebhookEndpoint,
    RotateSecret,
    TryWebhookEndpoint,
    WebhookTrial,
)
from schemas.entities import Subscription, WebhookEndpoint, Workflow
from schemas.ids import WEBHOOK_ENDPOINT, derived_id

NAME = "The webhook endpoint"  # as errors of its deliveries call it


def create(facts: Facts, request: CommandRequest, payload: CreateWebhookEndpoint) -> Done:
    command = request.command
    if facts.endpoints_counted(command.workspace) >= ENDPOINTS_MAX:
        message = f"The workspace has {ENDPOINTS_MAX} webhook endpoints, which is as many as it may have."
        raise CommandRefused(409, "webhook_endpoint_limit_reached", message)
    endpoint = WebhookEndpoint(
        id=derived_id(WEBHOOK_ENDPOINT, request.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        created_ms=request.append_ms,
        name=NAME,
        url=payload.url,
        events=payload.events,
        streams=payload.streams,
        description=payload.description,
    )
    return Done(
        201, CommandChanges(put=(endpoint.to_entity(request.version),)), resource_of(endpoint), body_of(endpoint)
    )


def delete(facts: Facts, request: CommandRequest, payload: DeleteWebhookEndpoint) -> Done:
    endpoint = _endpoint(facts, request, payload.id)
    return Done(204, CommandChanges(gone=(endpoint.to_entity(request.version),)), resource_of(endpoint))


def send_trial(facts: Facts, request: CommandRequest, payload: TryWebhookEndpoint) -> Done:
    endpoint = _endpoint(facts, request, payload.id)
    delivery = trial_webhook(endpoint, request.command.id, request.append_ms)
    body = msgspec.json.encode(WebhookTrial(id=delivery.delivery_id))
    return Done(202, CommandChanges(deliveries=(delivery,)), resource_of(endpoint), body)


def rotate_secret(facts: Facts, request: CommandRequest, payload: RotateSecret) -> Done:
    """Rotates the secret of any target. A second rotation within the overlap ends the secret before the last one."""
    before = target(facts, request, payload.id)
    if isinstance(before, Workflow) and before.topic:
        raise CommandRefused(
            409, "workflow_not_signed", "What is written to a topic has no signature, so there is no secret."
        )
    if isinstance(before, Subscription) and before.sealed_secret:
        message = "The subscriber chose the secret; another subscription can have another."
        raise CommandRefused(409, "secret_not_issued", message)
    until_ms = request.append_ms + payload.overlap_seconds * 1_000
    return changed(
        request,
        msgspec.structs.replace(
            before,
            secret_version=before.secret_version + 1,
            previous_until_ms=until_ms if payload.overlap_seconds else None,
        ),
    )


def _endpoint(facts: Facts, request: CommandRequest, endpoint_id: str) -> WebhookEndpoint:
    command = request.command
    endpoint = facts.endpoint(command.workspace, command.environment, endpoint_id)
    if endpoint is None:
        raise absent("webhook_endpoint_not_found")
    return endpoint


HANDLERS: Handlers = {
    RotateSecret: RequestHandler(rotate_secret),
    CreateWebhookEndpoint: RequestHandler(create),
    DeleteWebhookEndpoint: RequestHandler(delete),
    TryWebhookEndpoint: RequestHandler(send_trial),
}
