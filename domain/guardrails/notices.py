"""The guardrails' notices to an organization on its spine, in addition to the ledger: events of its live environment,
which its subscriptions get like any other (B-033: a soft cap warns through notification channels).

| type | data |
|---|---|
| `budget.warning` | `cap`, `period`, `scope`, `scopeId`, `percent` (50, 80, 100), `spentUsd`, `limitUsd`, `reason` |
| `guardrail.suspended` | `layer`, `reason`, `scope`, `scopeId`, `setBy`, `expiresAt` |
| `guardrail.resumed` | `reason`, `scope`, `scopeId` |

They are written where the spine is in use: its stream is made with the first event, live reader or subscription.
"""

from typing import Any

import msgspec

from domain.events.spine_events import STREAM, actor_of
from domain.events.system_events import SystemEvent
from schemas.entities import KillFlag
from schemas.guardrail_breaches import BudgetWarning
from schemas.guardrail_policy import Guarded
from schemas.times import rfc3339
from schemas.topics import ENVIRONMENTS

SOURCE = "atlasburn.guardrails"
BUDGET_WARNING, SUSPENDED, RESUMED = "budget.warning", "guardrail.suspended", "guardrail.resumed"
LIVE = ENVIRONMENTS[0]


def warned(workspace: str, at_ms: int, warning: BudgetWarning) -> SystemEvent:
    data = {
        "cap": warning.cap,
        "period": warning.period,
        **_of(Guarded(warning.scope, warning.scope_id)),
        "percent": warning.percent,
        "spentUsd": warning.spent_usd,
        "limitUsd": warning.limit_usd,
        "reason": warning.reason,
    }
    return _event(workspace, at_ms, BUDGET_WARNING, data)


def suspended(flag: KillFlag) -> SystemEvent:
    data = {
        "layer": flag.layer,
        "reason": flag.reason,
        **_of(Guarded(flag.scope, flag.scope_id)),
        "setBy": flag.set_by,
        "expiresAt": None if flag.expires_ms is None else rfc3339(flag.expires_ms),
    }
    return _event(flag.workspace, flag.created_ms, SUSPENDED, data)


def resumed(workspace: str, at_ms: int, guarded: Guarded, reason: str) -> SystemEvent:
    return _event(workspace, at_ms, RESUMED, {"reason": reason, **_of(guarded)})


def _of(guarded: Guarded) -> dict[str, Any]:
    return {"scope": guarded.scope, "scopeId": guarded.id or None}


def _event(workspace: str, at_ms: int, kind: str, data: dict[str, Any]) -> SystemEvent:
    return SystemEvent(
        workspace=workspace,
        environment=LIVE,
        stream=STREAM,
        type=kind,
        occurred_ms=at_ms,
        data=msgspec.json.encode(data),
        actor=actor_of(SOURCE),
    )
