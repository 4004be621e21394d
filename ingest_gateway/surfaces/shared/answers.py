"""What every surface answers in the same way."""

from typing import Any

import msgspec
import orjson
from aiohttp import web

DECISION_HEADER = "Atlas-Decision"
DECISION_PENDING = "pending"
"""The answer was due before the verdict of admission or the guardrails arrived; what was sent is on the log."""
DECISION_REPLAY = "replay"
"""The event was sent before and does not count again: the answer is the first one's."""


def json_response(view: Any, status: int = 200) -> web.Response:
    """`view`: what orjson writes, its fragments included, and msgspec's structs."""
    body = orjson.dumps(view, default=msgspec.to_builtins)
    return web.Response(body=body, status=status, content_type="application/json")
