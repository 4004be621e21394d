"""How keys are shown: what each may do, and whether it still may; its secret only in the answer that created it."""

from typing import Any

from domain.security.api_tokens import token_prefix
from domain.security.principals import principal_of
from ingest_gateway.surfaces.events.key_forms import KINDS
from schemas.entities import Key
from schemas.times import rfc3339_seconds

_KIND_NAMES = {kind: name for name, kind in KINDS.items()}


def key_view(key: Key, now_ms: int, secret: str | None = None) -> dict[str, Any]:
    view = {
        "id": key.id,
        "object": "key",
        "kind": _KIND_NAMES[key.key_kind],
        "name": key.name,
        "prefix": token_prefix(key.key_kind, key.environment),
        "environment": key.environment,
        "status": key.status(now_ms),
        "scopes": sorted(principal_of(key).scopes),
        "streams": key.streams,
        "allowed_ips": key.allowed_ips,
        "origins": key.origins,
        "created_at": rfc3339_seconds(key.created_ms),
        "expires_at": _time(key.ends_ms),
        "last_used_at": _time(key.last_used_ms),
        "revoked_at": _time(key.revoked_ms),
        "rotated_to": key.rotated_to or None,
        "workspace_id": key.workspace,
    }
    return view if secret is None else view | {"secret": secret}


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else rfc3339_seconds(time_ms)
