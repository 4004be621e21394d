"""A model call as the published client spells it (B-070, X-55): `{"projectId", "events": [{"eventId", "timestamp",
"model", "latency", "usage": {"prompt_tokens", "completion_tokens"}, …}]}`. Pure.

It says neither provider nor fingerprint. So each such call has a fingerprint of its own: layers that look for what is
asked again and again see nothing in it, those that count calls, tokens and money do. `apiKey` in its body is passed
over: the header's key counts.
"""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingest_gateway.surfaces.burn.new_calls import (
    VERIFICATION_MODEL,
    Milliseconds,
    Named,
    NewCall,
    RetryCount,
    Text,
    Time,
    Tokens,
)

UNKNOWN_PROVIDER = "unknown"
VERIFICATION_TYPE = "verification"
UnixMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]


class Usage(msgspec.Struct, gc=False):
    prompt_tokens: Tokens = 0
    completion_tokens: Tokens = 0


class PublishedCall(msgspec.Struct, gc=False):
    """`timestamp`: RFC 3339, or milliseconds since 1970."""

    eventId: Named
    timestamp: Time | UnixMs
    model: Named
    usage: Usage
    featureId: Text | None = None
    latency: Milliseconds | None = None
    estimated: bool | None = None
    apiCallType: Text | None = None
    retryCount: RetryCount | None = None


class _Spelling(msgspec.Struct):
    ts: msgspec.Raw | UnsetType = UNSET
    usage: msgspec.Raw | UnsetType = UNSET
    eventId: msgspec.Raw | UnsetType = UNSET


class _Whole(msgspec.Struct):
    projectId: Text | None = None


_spelling = msgspec.json.Decoder(_Spelling).decode
_call = msgspec.json.Decoder(PublishedCall).decode
_whole = msgspec.json.Decoder(_Whole).decode


def is_published(item: msgspec.Raw) -> bool:
    """Whether it is spelt so, whatever else is wrong with it."""
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
    at = call.timestamp
    is_verification = call.apiCallType == VERIFICATION_TYPE
    return NewCall(
        ts=datetime.fromtimestamp(at / 1_000, UTC) if isinstance(at, int) else at,
        provider=UNKNOWN_PROVIDER,
        model=VERIFICATION_MODEL if is_verification else call.model,
        status=200,
        tokens_in=call.usage.prompt_tokens,
        tokens_out=call.usage.completion_tokens,
        fingerprint=f"event:{call.eventId}",
        endpoint=call.apiCallType,
        latency_ms=call.latency,
        event_id=call.eventId,
        project=project or call.featureId,
        retry_count=call.retryCount,
        estimated=call.estimated,
    )
