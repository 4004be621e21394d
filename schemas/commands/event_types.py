"""The command that registers an event type of the spine."""

from typing import ClassVar

from schemas.commands.payload import Payload


class RegisterEventType(Payload, frozen=True, kw_only=True):
    """`schema`: JSON text of `domain.json.schemas`. Answer 201, or 200 where it is the newest already: `EventType`.

    409 `incompatible_schema`, `event_type_limit_reached`.
    """

    kind: ClassVar[str] = "event_type.register"
    type: str
    schema: bytes
    description: str | None = None
