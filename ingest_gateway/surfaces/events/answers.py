"""What the events surface answers to what it took: the 202 body, byte for byte the same for a replay. Pure.

Source: seeds/000, Response 202 Accepted (A-039 to A-042).
"""

import base64
import binascii
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import orjson
from aiohttp import web

from ingest_gateway.log.event_log import Appended
from schemas.times import rfc3339

POSITION_HEADER = "Atlas-Position"
POSITION_CHARACTERS_MAX = 512
POSITION: web.RequestKey[str] = web.RequestKey("position", str)
DECISION_HEADER = "Atlas-Decision"
DECISION_PENDING = "pending"
_PLACE = struct.Struct(">Iq")
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


def position_of(appended: Appended) -> str:
    """Where the record stands, opaque to clients."""
    place = _PLACE.pack(appended.partition, appended.offset) + appended.topic.encode()
    return base64.urlsafe_b64encode(place).rstrip(b"=").decode()


async def add_position(request: web.Request, response: web.StreamResponse) -> None:
    """Where a request's command stands, on its answer."""
    if POSITION in request:
        response.headers[POSITION_HEADER] = request[POSITION]


def position_from(text: str) -> tuple[str, int, int] | None:
    """Topic, partition and offset; None for what is no position."""
    if len(text) > POSITION_CHARACTERS_MAX:
        return None
    try:
        place = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        partition, offset = _PLACE.unpack_from(place)
        return place[_PLACE.size :].decode(), partition, offset
    except (binascii.Error, ValueError, struct.error):
        return None
