"""The rule for model calls: a call with an `event_id` counts once in 24 hours, however often it is reported.

Each way of reporting has ids of its own: a call that is ingested under the request id of a proxied call is another
call, and takes nothing of that one's spend away.
"""

import hashlib

from domain.idempotency import KEY_LIFE_MS
from schemas.telemetry import CallSource

_ID_SPACES = {int(CallSource.INGEST): b"", int(CallSource.EDGE): b"edge", int(CallSource.OTLP): b"otlp"}


def counted_key(workspace: str, event_id: str, source: int) -> bytes:
    """12 bytes under which it is kept when the call was counted."""
    space = _ID_SPACES.get(source, b"")
    return hashlib.blake2b(f"{workspace}\0{event_id}".encode(), digest_size=12, person=space).digest()


def still_counts(counted_ms: int, now_ms: int) -> bool:
    """Whether a call counted then is a repeat now, both in the log's time."""
    return now_ms - counted_ms < KEY_LIFE_MS
