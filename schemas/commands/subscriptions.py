"""Commands about subscriptions, of the spine and of the work surface."""

from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, UnsetType

from schemas.commands.payload import Payload
from schemas.entities import PATTERNS_MAX, PayloadFormat, SubscriptionSurface

Patterns = Annotated[list[str], Meta(max_length=PATTERNS_MAX)]


class CreateSubscription(Payload, frozen=True, kw_only=True):
    """See `schemas.entities.Subscription`. Answer 201: `Subscription`. 409 `subscription_limit_reached`."""

    kind: ClassVar[str] = "subscription.create"
    surface: SubscriptionSurface
    url: str
    patterns: Patterns
    description: str | None = None
    sealed_secret: bytes = b""
    payload_format: PayloadFormat = PayloadFormat.NATIVE


class UpdateSubscription(Payload, frozen=True, kw_only=True):
    """An unset field keeps its value. Answer 200: `Subscription`. 404 `subscription_not_found`."""

    kind: ClassVar[str] = "subscription.update"
    id: str
    url: str | UnsetType = UNSET
    patterns: Patterns | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class DeleteSubscription(Payload, frozen=True, kw_only=True):
    """Waiting deliveries are dropped. Answer 204. 404 `subscription_not_found`."""

    kind: ClassVar[str] = "subscription.delete"
    id: str
