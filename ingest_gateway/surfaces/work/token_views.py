"""How tokens are shown: what each may do and whether it still may; its text only in the answer that made it."""

from typing import Any

from domain.security.api_tokens import token_prefix
from domain.security.principals import principal_of
from schemas.entities import Key
from schemas.times import rfc3339


def token_view(key: Key, now_ms: int, token: str | None = None) -> dict[str, Any]:
    view = {
        "id": key.id,
        "name": key.name,
        "prefix": token_prefix(key.key_kind, key.environment),
        "status": key.status(now_ms),
        "scopes": sorted(principal_of(key).scopes),
        "allowedIps": key.allowed_ips,
        "createdAt": rfc3339(key.created_ms),
        "expiresAt": _time(key.ends_ms),
        "lastUsedAt": _time(key.last_used_ms),
        "revokedAt": _time(key.revoked_ms),
        "rotatedTo": key.rotated_to or None,
    }
    return view if token is None else view | {"token": token}


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else rfc3339(time_ms)
