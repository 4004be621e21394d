"""The fields of a model call in `POST /api/ingest`, and their bounds. Source: the AtlasBurn document, B-014."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

VERIFICATION_MODEL = "verification-pulse"
"""The model that a client names to test its connection: counted as a call, never as spend (B-075)."""
Time = Annotated[datetime, Meta(tz=True)]
ShortText = Annotated[str, Meta(max_length=200)]
RequiredText = Annotated[str, Meta(min_length=1, max_length=200)]
Tokens = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Status = Annotated[int, Meta(ge=0, le=599)]
CostUsd = Annotated[float, Meta(ge=0, le=1_000_000)]
Milliseconds = Annotated[float, Meta(ge=0, le=1e12)]
RetryCount = Annotated[int, Meta(ge=0, le=1_000_000)]


class NewCall(msgspec.Struct, gc=False):
    """A field without a default is required. `status` 0: no answer came. `cached_tokens` and `cache_write_tokens` are
    parts of `tokens_in`, `cache_write_1h_tokens` is a part of `cache_write_tokens`."""

    ts: Time
    provider: RequiredText
    model: RequiredText
    status: Status
    tokens_in: Tokens
    tokens_out: Tokens
    fingerprint: RequiredText
    endpoint: ShortText | None = None
    cost_usd: CostUsd | None = None
    latency_ms: Milliseconds | None = None
    stream: bool | None = None
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None
    cache_write_1h_tokens: Tokens | None = None
    event_id: ShortText | None = None
    session_id: ShortText | None = None
    key_id: ShortText | None = None
    project: ShortText | None = None
    user: ShortText | None = None
    retry_count: RetryCount | None = None
    trace_id: ShortText | None = None
    estimated: bool | None = None
