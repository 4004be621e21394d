"""What is wrong with one field of a request, a command or an event."""

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """`field`: its path (`actor.id`, `events[2].type`), or `body` where no field can be named."""

    field: str
    message: str
