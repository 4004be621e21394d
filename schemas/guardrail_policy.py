"""An organization's guardrail policy: each layer's mode and thresholds, its budgets. As `PUT /api/guardrails/policy`
takes it and the entity `policy` holds it. What is left out has the default here, each with its source.
"""

from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

NANO_PER_USD = 1_000_000_000
TTL_SECONDS_DEFAULT, TTL_SECONDS_MAX = 7_200, 30 * 86_400  # B-022, B-048
CAPS_MAX = 500

Usd = Annotated[float, Meta(gt=0, le=1_000_000_000)]
Minutes = Annotated[int, Meta(ge=1, le=1_440)]
WindowSeconds = Annotated[int, Meta(ge=1, le=600)]
Name = Annotated[str, Meta(max_length=200)]
TtlSeconds = Annotated[int, Meta(ge=0, le=TTL_SECONDS_MAX)]


class Mode(StrEnum):
    OFF = "off"
    WARN = "warn"  # a trip is written to the ledger and stops nothing
    ENFORCE = "enforce"  # a trip suspends


class Scope(StrEnum):
    """Whose spend a cap counts."""

    ORG = "org"
    PROJECT = "project"
    KEY = "key"
    MODEL = "model"
    USER = "user"


class Period(StrEnum):
    """In UTC."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class BudgetMode(StrEnum):
    OPEN = "open"  # spend counts when reported: running calls may exceed a cap; the proxy fails open
    STRICT = "strict"  # a call needs a reservation first; without an answer there is no call


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base: unknown names are refused, since a misspelt threshold would be none."""


class Cap(_Settings, frozen=True, kw_only=True):
    """A budget. `id`: which project, key, model or user; `*`: each of them by itself. Soft warns at 50, 80 and 100 %,
    hard suspends: the whole organization for its own cap, else what the cap counts.
    """

    period: Period
    scope: Scope = Scope.ORG
    id: Name = "*"
    soft_usd: Usd | None = None
    hard_usd: Usd | None = None

    @property
    def name(self) -> str:
        """What it is called in the ledger: `day org`, `month project *`."""
        return f"{self.period} org" if self.scope is Scope.ORG else f"{self.period} {self.scope} {self.id}"


class FinancialLimits(_Settings, frozen=True, kw_only=True):
    """Layer 1 (B-033, X-53). Without caps it does nothing: there are no published amounts."""

    mode: Mode = Mode.ENFORCE
    caps: Annotated[list[Cap], Meta(max_length=CAPS_MAX)] = []


class DumbLoop(_Settings, frozen=True, kw_only=True):
    """Layer 2 (B-023, B-034, X-48). `consecutive`: one after the other in their session's calls, or their key's where
    calls name no session; else among all calls of these.
    """

    mode: Mode = Mode.ENFORCE
    repeats: Annotated[int, Meta(ge=2, le=16)] = 4
    window_seconds: WindowSeconds = 60
    consecutive: bool = True


class SmartLoop(_Settings, frozen=True, kw_only=True):
    """Layer 3 (B-036): a session whose tokens_in grow call by call along a line."""

    mode: Mode = Mode.ENFORCE
    calls: Annotated[int, Meta(ge=4, le=32)] = 8
    fit_min: Annotated[float, Meta(ge=0, le=1)] = 0.98
    growth_min: Annotated[float, Meta(ge=1, le=1_000)] = 2.0


class Burst(_Settings, frozen=True, kw_only=True):
    """Layer 4 (B-037): a key's requests a minute, sustained for two minutes, or a whole minute's within 20 s. 10 is
    published; a real service's trace runs at about 150 with a minute of 723, so the default is 600.
    """

    mode: Mode = Mode.ENFORCE
    per_minute: Annotated[int, Meta(ge=1, le=10_000_000)] = 600


class PremiumConcentration(_Settings, frozen=True, kw_only=True):
    """Layer 5 (B-038). `models`: what counts as premium; empty: what domain/guardrails/prices.yaml calls so."""

    mode: Mode = Mode.ENFORCE
    share_min: Annotated[float, Meta(gt=0, le=1)] = 0.9
    spend_usd_min: Usd = 20.0
    models: Annotated[list[Name], Meta(max_length=200)] = []


class PingPong(_Settings, frozen=True, kw_only=True):
    """Beyond the documents: two fingerprints in turn (A B A B …), so many rounds."""

    mode: Mode = Mode.WARN
    rounds: Annotated[int, Meta(ge=2, le=8)] = 3
    window_seconds: WindowSeconds = 120


class RetryCascade(_Settings, frozen=True, kw_only=True):
    """Beyond the documents (B-061 names no threshold): so many calls that were each retried so often."""

    mode: Mode = Mode.WARN
    calls: Annotated[int, Meta(ge=1, le=16)] = 5
    retries_min: Annotated[int, Meta(ge=1, le=1_000)] = 2
    window_seconds: WindowSeconds = 60


class BurnRate(_Settings, frozen=True, kw_only=True):
    """Beyond the documents: at the pace of the last minutes the organization's daily hard cap is passed within
    `minutes`.
    """

    mode: Mode = Mode.WARN
    minutes: Minutes = 30
    over_minutes: Annotated[int, Meta(ge=5, le=60)] = 15


class GuardrailPolicy(_Settings, frozen=True, kw_only=True):
    """Layers 1 to 5 are active by themselves (B-032); those beyond the documents warn."""

    financial_limits: FinancialLimits = FinancialLimits()
    dumb_loop: DumbLoop = DumbLoop()
    smart_loop: SmartLoop = SmartLoop()
    burst: Burst = Burst()
    premium_concentration: PremiumConcentration = PremiumConcentration()
    ping_pong: PingPong = PingPong()
    retry_cascade: RetryCascade = RetryCascade()
    burn_rate: BurnRate = BurnRate()
    budget_mode: BudgetMode = BudgetMode.OPEN
    ttl_seconds: TtlSeconds = TTL_SECONDS_DEFAULT
    """How long a trip suspends; 0: until somebody resumes (X-54)."""


DEFAULT_POLICY = GuardrailPolicy()


class Layer(StrEnum):
    """Names of the ledger and of flags, in the order of evaluation (B-032, B-040); the second is the document's own."""

    FINANCIAL_LIMITS = "financial_limits"
    DUMB_LOOP = "dumb_loop_detector"
    SMART_LOOP = "smart_loop_detector"
    BURST = "burst_detector"
    PREMIUM_CONCENTRATION = "premium_concentration"
    PING_PONG = "ping_pong_detector"
    RETRY_CASCADE = "retry_cascade"
    BURN_RATE = "burn_rate"


class Guarded(NamedTuple):
    """What a flag stops, and whose spend a cap counts: the organization (no id), or one of its projects, keys, …"""

    scope: Scope = Scope.ORG
    id: str = ""


ORGANIZATION = Guarded()


def nano(usd: float) -> int:
    """Billionths of a dollar: all money is counted in them, whole, so that sums are exact."""
    return round(usd * NANO_PER_USD)
