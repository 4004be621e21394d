"""How the burn surface shows flags, accounts and breaches: money in US dollars, times in RFC 3339."""

from typing import Any

import msgspec
from sqlalchemy import Row

from schemas.entities import KillFlag
from schemas.guardrail_policy import NANO_PER_USD, GuardrailPolicy
from schemas.telemetry import Account, CapUse
from schemas.times import rfc3339


def usd(nano: int) -> float:
    return nano / NANO_PER_USD


def flag_view(flag: KillFlag) -> dict[str, Any]:
    return {
        "layer": flag.layer,
        "reason": flag.reason,
        "scope": flag.scope,
        "scope_id": flag.scope_id or None,
        "set_by": flag.set_by,
        "since": rfc3339(flag.created_ms),
        "expires_at": None if flag.expires_ms is None else rfc3339(flag.expires_ms),
    }


def account_view(org_id: str, account: Account, policy: GuardrailPolicy) -> dict[str, Any]:
    flag = account.standing.flag
    layers = msgspec.to_builtins(policy)
    return {
        "org_id": org_id,
        "status": "active" if flag is None else "suspended",
        "as_of": rfc3339(account.at_ms),
        "flag": None if flag is None else flag_view(flag),
        "flags": [flag_view(one) for one in account.flags],
        "layers": {name: layer["mode"] for name, layer in layers.items() if isinstance(layer, dict)},
        "budget_mode": policy.budget_mode,
        "spend": {
            "hour_usd": usd(account.hour_nano),
            "day_usd": usd(account.day_nano),
            "month_usd": usd(account.month_nano),
            "usd_per_minute": usd(sum(account.minutes_nano[-15:])) / 15,
        },
        "caps": [cap_view(use) for use in account.caps],
        "warnings": [warning_view(use) for use in account.caps if use.warned_percent],
        "reservations": {"count": account.reservations, "usd": usd(account.reserved_nano)},
    }


def cap_view(use: CapUse) -> dict[str, Any]:
    return {
        "cap": use.cap,
        "scope": use.scope,
        "id": use.id or None,
        "spent_usd": usd(use.spent_nano),
        "reserved_usd": usd(use.reserved_nano),
        "soft_usd": None if use.soft_nano is None else usd(use.soft_nano),
        "hard_usd": None if use.hard_nano is None else usd(use.hard_nano),
        "warned_percent": use.warned_percent or None,
    }


def warning_view(use: CapUse) -> dict[str, Any]:
    """A warning for a cap with 50, 80 or 100 % spent in its current period."""
    limit_nano = use.hard_nano if use.soft_nano is None else use.soft_nano
    return {
        "cap": use.cap,
        "scope": use.scope,
        "id": use.id or None,
        "percent": use.warned_percent,
        "spent_usd": usd(use.spent_nano),
        "limit_usd": usd(limit_nano or 0),
    }


def breach_view(row: Row[Any]) -> dict[str, Any]:
    """`action`: what was done about it (`suspended`, `warned`)."""
    return {
        "id": row.id,
        "object": "breach",
        "at": rfc3339(row.at_ms),
        "layer": row.layer,
        "mode": row.mode,
        "action": row.outcome,
        "reason": row.reason,
        "observed": row.observed,
        "threshold": row.threshold,
        "scope": row.scope,
        "scope_id": row.scope_id or None,
        "key_id": row.key_id or None,
        "session_id": row.session_id or None,
        "fingerprint": row.fingerprint or None,
        "calls": [
            {"at": rfc3339(call["at_ms"]), **{name: call[name] for name in ("fingerprint", "tokens_in", "retry_count")}}
            for call in msgspec.json.decode(row.calls)
        ],
        "request_id": row.request_id or None,
    }
