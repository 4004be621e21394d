"""Commands that keep an idempotency key while an operation runs whose answer takes a while."""

from typing import ClassVar

import msgspec

from schemas.commands.payload import Payload

RESERVED = "reserved"
"""The outcome of the verdict on `answer.reserve`."""


class ReserveAnswer(Payload, frozen=True, kw_only=True):
    """Begins an operation under the command's idempotency key (for how long: domain/idempotency/commands.py).

    Answer 202: outcome RESERVED, body `Reserved`. The first request gets its own command's id; a repeat gets the
    first one's id, or the first one's answer where there is one.
    """

    kind: ClassVar[str] = "answer.reserve"
    id: str  # the operation: the key belongs to it


class CompleteAnswer(Payload, frozen=True, kw_only=True):
    """The answer of the reserved operation; None: it failed, and the key is free. Answer 204."""

    kind: ClassVar[str] = "answer.complete"
    reservation: str
    body: str | None


class Reserved(msgspec.Struct, frozen=True):
    """`command`: the id of the command that holds the key."""

    command: str
