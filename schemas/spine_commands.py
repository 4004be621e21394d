"""Commands about subscriptions, of the spine and of the work surface, and about the spine's event types."""

from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, UnsetType

from schemas.entities import PATTERNS_MAX, PayloadFormat, SubscriptionSurface
from schemas.payload import Payload

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
    """What is unset stays. Answer 200: `Subscription`. 404 `subscription_not_found`."""

    kind: ClassVar[str] = "subscription.update"
    id: str
    url: str | UnsetType = UNSET
    patterns: Patterns | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class DeleteSubscription(Payload, frozen=True, kw_only=True):
    """Answer 204. 404 `subscription_not_found`. What waits for it is given up."""

    kind: ClassVar[str] = "subscription.delete"
    id: str


class RegisterEventType(Payload, frozen=True, kw_only=True):
    """`schema`: JSON text of `domain.json.schemas`. Answer 201, or 200 where it is the newest already: `EventType`.

    409 `incompatible_schema`, `event_type_limit_reached`.
    """

    kind: ClassVar[str] = "event_type.register"
    type: str
    schema: bytes
    description: str | None = None


SPINE_PAYLOADS: tuple[type[Payload], ...] = (
    CreateSubscription,
    UpdateSubscription,
    DeleteSubscription,
    RegisterEventType,
)
