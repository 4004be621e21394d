"""What the events surface answers to what it took: the 202 body, byte for byte the same for a replay. Pure.

Source: the Atlas Events document, Response 202 Accepted (A-039 to A-042).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import orjson

from schemas.times import rfc3339

_time = lru_cache(maxsize=1_024)(rfc3339)  # the records of one append share their time


class Shown(NamedTuple):
    """What of an event its answer repeats, kept when the event itself is on the log."""

    event_id: str
    stream: str
    type: str
    occurred_at: str
    idempotency_key: str | None


def accepted(shown: Shown, event_id: str, received_ms: int, routes: Sequence[str]) -> bytes:
    """`event_id` is the original's for a replay, as are time and routes."""
    return orjson.dumps(
        {
            "id": event_id,
            "object": "event",
            "stream": shown.stream,
            "type": shown.type,
            "status": "accepted",
            "received_at": _time(received_ms),
            "occurred_at": shown.occurred_at,
            "idempotency_key": shown.idempotency_key,
            "routes": [{"workflow_id": route, "status": "queued"} for route in routes],
        }
    )
