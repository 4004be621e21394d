"""The rule for commands: what an idempotency key means when it comes again.

The control agent reads all commands of a workspace in the log's order and keeps the answer under each key
(domain/control/state.py). When a key comes again, `use_of_key` says what that means; domain/commands/decide.py acts
on it. AtlasWork differs in two points: the body is not compared (`request_of`), and a refusal leaves the key free
(`scope_of_refusal`).
"""

import hashlib
from enum import Enum
from typing import Protocol

from domain.idempotency import KEY_LIFE_MS
from schemas.commands.payload import Payload
from schemas.commands.reservations import RESERVED
from schemas.records import Command
from schemas.work import SURFACE as WORK

RESERVED_MS = 150_000
"""How long a reservation holds its key without an answer: its gateway may have died."""


class KeyUse(Enum):
    """What a command's key means."""

    FREE = 1  # no answer counts under it: the command is decided
    REPEATED = 2  # the same request: it gets the earlier answer
    REUSED = 3  # another request: 409 `idempotency_key_reused`
    PAST = 4  # the record is older than the answer: it is read again, and was answered when it was read first


class KeptAnswer(Protocol):
    """What is kept under a key (domain.control.values.CommandAnswer)."""

    @property
    def version(self) -> int:
        """Of the command that took the key: versions follow the log's order."""
        ...

    @property
    def at_ms(self) -> int: ...

    @property
    def outcome(self) -> str: ...

    @property
    def asked(self) -> str:
        """`request_of` that command."""
        ...

    @property
    def freed(self) -> int:
        """The version from which on the key is free; 0: it is not."""
        ...


def use_of_key(kept: KeptAnswer | None, request: str, version: int, append_ms: int) -> KeyUse:
    """`kept`: the newest answer under the key. The rest is the new command's: `request_of` it, its version and time."""
    if kept is None:
        return KeyUse.FREE
    if version < max(kept.version, kept.freed):
        return KeyUse.PAST
    if kept.freed or append_ms >= kept.at_ms + life_ms(kept.outcome):
        return KeyUse.FREE
    return KeyUse.REPEATED if kept.asked == request else KeyUse.REUSED


def life_ms(outcome: str) -> int:
    """How long an answer counts under its key."""
    return RESERVED_MS if outcome == RESERVED else KEY_LIFE_MS


def request_of(surface: str, payload: Payload) -> str:
    """What must be the same when a key is used again: everything in the payload. On the work surface it is the
    operation and the object, regardless of the rest of the body (W-042).
    """
    if surface == WORK:
        return f"{payload.kind}/{getattr(payload, 'id', '')}"
    return hashlib.blake2b(f"{payload.kind}\0".encode() + payload.encode(), digest_size=16).hexdigest()


def scope_of(command: Command) -> str | None:
    """Within which the command's key means one request; None: it has no key."""
    if command.idempotency_key is None:
        return None
    return "\0".join((command.workspace, command.environment, command.surface, command.idempotency_key))


def scope_of_refusal(command: Command) -> str | None:
    """Under which a refusal is kept; on the work surface under none, so that the key stays free (W-041)."""
    return None if command.surface == WORK else scope_of(command)
