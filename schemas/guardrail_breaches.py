"""An entry of the breaches ledger: `Audit.details` of the actions `guardrail.trip` and `guardrail.notice`, JSON."""

import msgspec

from schemas.guardrail_policy import Layer, Mode, Period, Scope

TRIP, NOTICE = "guardrail.trip", "guardrail.notice"


class CallSeen(msgspec.Struct, frozen=True):
    """A call as evidence. `fingerprint`: its first 16 hexadecimal digits. No text of a prompt is ever kept (X-58)."""

    at_ms: int
    fingerprint: str
    tokens_in: int
    retry_count: int


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that tripped: what it saw reached its threshold, each in the layer's own unit (USD, calls, share, …).

    `fingerprint`: of the call that tripped it. `calls`: those that make the case, the oldest first.
    """

    layer: Layer
    mode: Mode
    reason: str
    observed: float
    threshold: float
    scope: Scope = Scope.ORG
    scope_id: str = ""
    key_id: str = ""
    session_id: str = ""
    fingerprint: str = ""
    calls: list[CallSeen] = []


class BudgetWarning(msgspec.Struct, frozen=True, kw_only=True):
    """A cap's notice. `percent`: of `limit_usd`, which is the soft cap; of the hard one where it only warns."""

    cap: str
    period: Period
    percent: int
    spent_usd: float
    limit_usd: float
    reason: str
    scope: Scope = Scope.ORG
    scope_id: str = ""


decode_breach = msgspec.json.Decoder(Breach).decode
