"""The rules of subscriptions of the spine and the work surface: how they are created, changed and deleted."""

import msgspec

from domain.control.handlers import Handlers, RequestHandler
from domain.control.tenants import changed, resource_of, subscription
from domain.control.values import CommandChanges, CommandRefused, CommandRequest, Done, Facts, body_of
from schemas.commands.subscriptions import CreateSubscription, DeleteSubscription, UpdateSubscription
from schemas.entities import Subscription, SubscriptionSurface
from schemas.ids import SPINE_SUBSCRIPTION, WORK_WEBHOOK, derived_id

NAMES = {SubscriptionSurface.SPINE: "subscription", SubscriptionSurface.WORK: "webhook"}  # as who has one knows it
ID_PREFIXES = {SubscriptionSurface.SPINE: SPINE_SUBSCRIPTION, SubscriptionSurface.WORK: WORK_WEBHOOK}
LIMITS = {SubscriptionSurface.SPINE: 10, SubscriptionSurface.WORK: 50}
"""Of a workspace, in both environments (S-045): a disabled one counts, as it can be reactivated."""


def create(facts: Facts, request: CommandRequest, payload: CreateSubscription) -> Done:
    command, surface = request.command, payload.surface
    if facts.subscriptions_counted(command.workspace, surface) >= LIMITS[surface]:
        message = f"There are {LIMITS[surface]} {NAMES[surface]}s, which is as many as there may be. Delete one first."
        raise CommandRefused(409, "subscription_limit_reached", message)
    made = Subscription(
        id=derived_id(ID_PREFIXES[surface], request.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        created_ms=request.append_ms,
        name=f"The {NAMES[surface]}",  # as errors of its deliveries call it
        url=payload.url,
        surface=surface,
        patterns=payload.patterns,
        description=payload.description,
        sealed_secret=payload.sealed_secret,
        payload_format=payload.payload_format,
    )
    return Done(201, CommandChanges(put=(made.to_entity(request.version),)), resource_of(made), body_of(made))


def update(facts: Facts, request: CommandRequest, payload: UpdateSubscription) -> Done:
    before = subscription(facts, request, payload.id)
    wanted = {name: getattr(payload, name) for name in ("url", "patterns", "description")}
    fields = {name: value for name, value in wanted.items() if value is not msgspec.UNSET}
    return changed(request, msgspec.structs.replace(before, **fields))


def delete(facts: Facts, request: CommandRequest, payload: DeleteSubscription) -> Done:
    gone = subscription(facts, request, payload.id)
    return Done(204, CommandChanges(gone=(gone.to_entity(request.version),)), resource_of(gone))


HANDLERS: Handlers = {
    CreateSubscription: RequestHandler(create),
    UpdateSubscription: RequestHandler(update),
    DeleteSubscription: RequestHandler(delete),
}
