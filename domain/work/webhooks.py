"""The rules of testing a webhook of the work surface and of sending it an event again."""

import msgspec

from domain.control.handlers import Handlers, RequestHandler
from domain.control.replays import begun
from domain.control.values import CommandChanges, CommandRefused, CommandRequest, Done, Facts
from domain.delivery.delivery_ids import delivery_id
from domain.delivery.webhooks import DeliveryKind
from domain.events.avro import encode_event
from domain.events.rules import EventFields
from schemas.codec import EVENT
from schemas.commands.replays import StartReplay
from schemas.commands.work import ReplayWebhook, TryWebhook
from schemas.entities import Subscription, SubscriptionSurface
from schemas.ids import DELIVERY, derived_id
from schemas.ids import EVENT as EVENT_PREFIX
from schemas.records import Delivery
from schemas.times import rfc3339
from schemas.work import STREAM, TEST


def send_test(facts: Facts, request: CommandRequest, payload: TryWebhook) -> Done:
    """Sends a test event to this webhook only, signed and retried like any event."""
    webhook = _webhook(facts, request, payload.id)
    identity = request.append_ms, TEST.encode(), request.command.id.encode(), webhook.id.encode()
    event_id, identifier = derived_id(EVENT_PREFIX, *identity), derived_id(DELIVERY, *identity)
    delivery = Delivery(
        delivery_id=identifier,
        event_id=event_id,
        workspace=webhook.workspace,
        environment=webhook.environment,
        stream=STREAM,
        workflow_id=webhook.id,
        received_ms=request.append_ms,
        event=_test_event(event_id, webhook, request.append_ms),
        kind=DeliveryKind.WEBHOOK,
    )
    body = msgspec.json.encode({"deliveryId": identifier, "event": TEST})
    return Done(202, CommandChanges(deliveries=(delivery,)), f"webhook/{webhook.id}", body)


def replay(facts: Facts, request: CommandRequest, payload: ReplayWebhook) -> Done:
    webhook = _webhook(facts, request, payload.id)
    started, changes = begun(facts, request, StartReplay(event_id=payload.event_id, workflows=[webhook.id]))
    identifier = delivery_id(payload.source, payload.source.received_ms, webhook.id, started.number)
    body = msgspec.json.encode({"deliveryId": identifier, "eventId": payload.event_id})
    return Done(202, changes, f"webhook/{webhook.id}", body)


def _webhook(facts: Facts, request: CommandRequest, webhook_id: str) -> Subscription:
    found = facts.subscription(request.command.workspace, request.command.environment, webhook_id)
    if found is None or found.surface is not SubscriptionSurface.WORK:
        raise CommandRefused(404, "webhook_not_found", f"There is no webhook {webhook_id}.")
    return found


def _test_event(event_id: str, webhook: Subscription, at_ms: int) -> bytes:
    """The event in the form in which admission passes it on: Avro without the header."""
    data = msgspec.json.encode({"webhook": {"id": webhook.id}})
    fields = EventFields(stream=STREAM, type=TEST, occurred_at=rfc3339(at_ms), occurred_ms=at_ms, data=data)
    return EVENT.body_of(encode_event(fields, event_id))


HANDLERS: Handlers = {
    TryWebhook: RequestHandler(send_test),
    ReplayWebhook: RequestHandler(replay),
}
