"""A model call as the published client spells it (B-070, X-55): `{"projectId", "events": [{"eventId", "timestamp",
"model", "latency", "usage": {"prompt_tokens", "completion_tokens"}, …}]}`.

The form has no provider and no fingerprint, so each call gets a fingerprint of its own. Layers that look for repeated
prompts therefore find nothing; layers that count calls, tokens and money work. `apiKey` in the body is ignored: the
header's key counts. `usage` may be what any provider's SDK gives (usage_conventions.py).
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingest_gateway.surfaces.burn.new_calls import (
    VERIFICATION_MODEL,
    Milliseconds,
    NewCall,
    RequiredText,
    RetryCount,
    ShortText,
    Time,
)
from ingest_gateway.surfaces.burn.usage_conventions import Counts, read_counts, whole

UNKNOWN_PROVIDER = "unknown"
TOKENS_MAX = 1_000_000_000
_MUST_BE_TOKENS = ("prompt_tokens", "completion_tokens")
VERIFICATION_TYPE = "verification"
UnixMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]


class PublishedCall(msgspec.Struct, gc=False):
    """`timestamp`: RFC 3339, or milliseconds since 1970."""

    eventId: RequiredText
    timestamp: Time | UnixMs
    model: RequiredText
    usage: dict[str, Any]
    featureId: ShortText | None = None
    latency: Milliseconds | None = None
    estimated: bool | None = None
    apiCallType: ShortText | None = None
    retryCount: RetryCount | None = None


class _Spelling(msgspec.Struct):
    ts: msgspec.Raw | UnsetType = UNSET
    usage: msgspec.Raw | UnsetType = UNSET
    eventId: msgspec.Raw | UnsetType = UNSET


class _Whole(msgspec.Struct):
    projectId: ShortText | None = None


_spelling = msgspec.json.Decoder(_Spelling).decode
_call = msgspec.json.Decoder(PublishedCall).decode
_whole = msgspec.json.Decoder(_Whole).decode


def is_published(item: msgspec.Raw) -> bool:
    """Whether an item is in the published client's form, even when other parts of it are invalid."""
    try:
        found = _spelling(item)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return found.ts is UNSET and not (found.usage is UNSET and found.eventId is UNSET)


def project_of(body: bytes) -> str | None:
    try:
        return _whole(body).projectId
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_published(item: msgspec.Raw, project: str | None) -> NewCall:
    """Raises msgspec.ValidationError. A feature without a project is one."""
    call = _call(item)
    usage = _counts(call.usage)
    at = call.timestamp
    is_verification = call.apiCallType == VERIFICATION_TYPE
    return NewCall(
        ts=datetime.fromtimestamp(at / 1_000, UTC) if isinstance(at, int) else at,
        provider=UNKNOWN_PROVIDER,
        model=VERIFICATION_MODEL if is_verification else call.model,
        status=200,
        tokens_in=usage.tokens_in or 0,
        tokens_out=usage.tokens_out or 0,
        fingerprint=f"event:{call.eventId}",
        endpoint=call.apiCallType,
        latency_ms=call.latency,
        cost_usd=usage.cost_usd,
        cached_tokens=usage.cached or None,
        cache_write_tokens=usage.written or None,
        cache_write_1h_tokens=usage.written_long or None,
        event_id=call.eventId,
        project=project or call.featureId,
        retry_count=call.retryCount,
        estimated=call.estimated,
    )


def _counts(usage: dict[str, Any]) -> Counts:
    """The counts; no counts for `{}`. Raises msgspec.ValidationError for usage without tokens, which must not count as
    zero."""
    for name in _MUST_BE_TOKENS:
        if usage.get(name) is not None and ((number := whole(usage[name])) is None or number > TOKENS_MAX):
            raise msgspec.ValidationError(f"Expected a number of tokens up to {TOKENS_MAX:,} - at `$.usage.{name}`")
    counts = (read_counts(usage) or Counts()).completed()
    if usage and counts.tokens_in is None and counts.tokens_out is None:
        raise msgspec.ValidationError("Expected numbers of tokens as a provider tells them - at `$.usage`")
    if max(counts.tokens_in or 0, counts.tokens_out or 0) > TOKENS_MAX:
        raise msgspec.ValidationError(f"Expected numbers of tokens up to {TOKENS_MAX:,} - at `$.usage`")
    return counts
