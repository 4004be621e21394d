"""What the proxy itself answers, in the form of the provider's own errors, so that its SDK raises what it should.

| dialect | body (B-072) |
|---|---|
| openai | `{"error": {message, type, code, param}}` |
| anthropic | `{"type": "error", "error": {type, message}}` |
| gemini | `{"error": {code, message, status}}` |

What a guardrail blocks is 429 with `_atlasburn{blocked, reason, layer}` next to the error, `Retry-After`,
`x-atlasburn-blocked: 1` and `x-atlasburn-reason` (X-51), which distinguishes it from a provider's 429
(L6). `x-should-retry: false` keeps the SDKs from retrying at once.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from ingest_gateway.surfaces.burn.edge.endpoints import Dialect

RETRY_SECONDS_MAX = 60
"""A flag may be cleared before it ends, so `Retry-After` is never longer (B-071)."""


class Shaped(NamedTuple):
    """An answer of the proxy's own; `headers` without content type and length."""

    status: int
    body: bytes
    headers: Mapping[str, str]


_IN_A_HEADER = re.compile(r"[\x21-\x7e]{1,64}")
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_exceeded"}
_ANTHROPIC_TYPES = {
    **{401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large"},
    **{429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error"},
}
_GEMINI_STATUSES = {
    **{401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"},
    **{500: "INTERNAL", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"},
}


def error_body(dialect: Dialect, status: int, code: str, message: str) -> dict[str, Any]:
    """The provider's error, with our `code` where its format has a member for one."""
    if dialect is Dialect.ANTHROPIC:
        kind = _ANTHROPIC_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": message}}
    if dialect is Dialect.GEMINI:
        named = _GEMINI_STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
        return {"error": {"code": status, "message": message, "status": named}}
    kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "code": code, "param": None}}


def failed(
    dialect: Dialect, status: int, code: str, message: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Shaped:
    """An error of the proxy's own, not a guardrail's; `_atlasburn` marks it as ours and names the request."""
    body = error_body(dialect, status, code, message)
    body["_atlasburn"] = {"blocked": False, "reason": code, "request_id": request_id}
    return Shaped(status, orjson.dumps(body), {"x-atlasburn-reason": code, **(headers or {})})


def blocked(dialect: Dialect, layer: str, reason: str, request_id: str, *, ends_ms: int | None, now_ms: int) -> Shaped:
    """What a guardrail stopped. `layer` goes into the header; `reason` (free text) into the body alone. A flag set by
    hand may name any layer: one that fits no header goes by a name of ours there."""
    cause = "Budget Exceeded" if layer == "financial_limits" else "Blocked by a guardrail"
    message = f"{cause}: {reason} (layer {layer}). The call was not sent to the provider."
    body = error_body(dialect, 429, "atlasburn_guardrail", message)
    body["_atlasburn"] = {"blocked": True, "reason": reason, "layer": layer, "request_id": request_id}
    headers = {
        "Retry-After": str(retry_seconds(ends_ms, now_ms)),
        "x-atlasburn-blocked": "1",
        "x-atlasburn-reason": layer if _IN_A_HEADER.fullmatch(layer) else "guardrail",
        "x-should-retry": "false",
    }
    return Shaped(429, orjson.dumps(body), headers)


def retry_seconds(ends_ms: int | None, now_ms: int) -> int:
    """Until a flag ends by itself, rounded up; a minute where it does not, or only later."""
    if ends_ms is None:
        return RETRY_SECONDS_MAX
    return max(1, min(RETRY_SECONDS_MAX, -(-(ends_ms - now_ms) // 1000)))
