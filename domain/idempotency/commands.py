"""When a command under a known idempotency key is the same request again, and how long a key stands for its answer."""

from domain.idempotency import KEY_LIFE_MS
from schemas.commands import payload_hash
from schemas.payload import Payload
from schemas.work import SURFACE as WORK
from schemas.work_commands import RESERVED, RESERVED_MS


def request_of(surface: str, payload: Payload) -> str:
    """What must be the same when a key is used again: all that was asked for. On the work surface it is the operation
    and what it is about, whatever the body says (W-042).
    """
    if surface == WORK:
        return f"{payload.kind}/{getattr(payload, 'id', '')}"
    return payload_hash(payload)


def is_key_over(outcome: str, answered_ms: int, now_ms: int) -> bool:
    """Whether the key is free again. A reservation holds it for a short time only, since its holder may have died."""
    return now_ms >= answered_ms + (RESERVED_MS if outcome == RESERVED else KEY_LIFE_MS)
