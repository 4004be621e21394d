"""What a record of `control` means to the KV namespace.

| KV key | value | from |
|---|---|---|
| `guardrail:<org>` | `{"state": "suspended", "layer", "reason", "expires_at"}` | its flag (B-025, B-027) |
| `key:<keyed hash>` | `{"org_id", "key_id", "expires_at"}` | a live key of AtlasBurn, while it holds |

Flags on one project, key, model or user stay with the gateways: the document's edge knows organizations (B-031). A flag
goes by itself when it has expired; KV keeps nothing for less than a minute, so the value says when it ends, too.
"""

from dataclasses import dataclass

import msgspec

from domain.entities.organizations import org_of
from schemas.entities import Key, KeyKind, KillFlag, state_of
from schemas.guardrail_policy import Scope
from schemas.records import Entity
from schemas.times import rfc3339
from schemas.topics import LIVE

KV_SECONDS_MIN = 60
_FLAG = f"{KillFlag.kind}/"


@dataclass(frozen=True, slots=True)
class Put:
    """`expires_seconds`: Unix time from which KV forgets it; None: never."""

    key: str
    value: bytes
    expires_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    key: str


Change = Put | Delete


def change_of(key: bytes, value: bytes | None, now_ms: int) -> Change | None:
    """None: it doesn't concern KV. Raises Undecodable."""
    if value is None:
        name = key.decode("utf-8", "replace")
        workspace = name.removeprefix(_FLAG)
        return Delete(flag_key(workspace)) if name.startswith(_FLAG) and "/" not in workspace else None
    state = state_of(Entity.decode(value))
    if isinstance(state, KillFlag) and state.scope is Scope.ORG:
        return _flag(state, now_ms)
    if isinstance(state, Key) and state.key_kind is KeyKind.ORG:
        return _org_key(state, now_ms)
    return None


def flag_key(workspace: str) -> str:
    return f"guardrail:{org_of(workspace)}"


def _flag(flag: KillFlag, now_ms: int) -> Change:
    key = flag_key(flag.workspace)
    if not flag.holds(now_ms):
        return Delete(key)
    value = {"state": "suspended", "layer": flag.layer, "reason": flag.reason, "expires_at": _expiry(flag.expires_ms)}
    return Put(key, msgspec.json.encode(value), _kept_until(flag.expires_ms, now_ms))


def _org_key(key: Key, now_ms: int) -> Change:
    name = f"key:{key.token_hash}"
    if not key.holds(now_ms) or key.environment != LIVE:
        return Delete(name)
    value = {"org_id": org_of(key.workspace), "key_id": key.id, "expires_at": _expiry(key.ends_ms)}
    return Put(name, msgspec.json.encode(value), _kept_until(key.ends_ms, now_ms))


def _expiry(ends_ms: int | None) -> str | None:
    return None if ends_ms is None else rfc3339(ends_ms)


def _kept_until(ends_ms: int | None, now_ms: int) -> int | None:
    if ends_ms is None:
        return None
    return max(-(-ends_ms // 1_000), now_ms // 1_000 + KV_SECONDS_MIN + 1)
