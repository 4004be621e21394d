"""Forecasts an organization's spend at the end of its month, by Monte Carlo over its own history (B-065).

Each coming day is drawn from past days of the same kind (working day or weekend), or from all past days when there are
too few of that kind. The rest of today is the matching fraction of a drawn day. With less than one whole day of
history, every draw is today's spend at today's pace. The caller passes the random seed, so the same history and seed
give the same forecast.
"""

from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from schemas.guardrail_policy import Scope
from schemas.telemetry import CapUse

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
PATHS = 10_000
DAYS_LOOKED_AT = 56
DAYS_OF_A_KIND_MIN = 4
ELAPSED_MIN = 1 / 24
SATURDAY = 5
_EPOCH = date(1970, 1, 1).toordinal()
Amounts = NDArray[np.float64]


@dataclass(frozen=True)
class CapForecast:
    """When one cap is reached. `probability`: that spend reaches the cap before its period ends. `expected_ms`: the
    mean time over the paths that reach the cap; None where no path does."""

    use: CapUse
    kind: str
    limit_nano: int
    probability: float
    expected_ms: int | None


@dataclass(frozen=True)
class Forecast:
    """Spend at the end of the month, in billionths of a dollar. `var95`: 95 % of the paths stay below it; `cvar95`: the
    mean of the paths at or above it."""

    month_end_ms: int
    days_of_history: int
    p5: int
    p50: int
    p95: int
    var95: int
    cvar95: int
    caps: tuple[CapForecast, ...]


def forecast(days_nano: Mapping[int, int], month_nano: int, caps: Sequence[CapUse], now_ms: int, seed: int) -> Forecast:
    """Forecasts the month and each cap. `days_nano`: spend by day since the epoch, including today; days without spend
    may be missing."""
    today = now_ms // DAY_MS
    when = date.fromordinal(_EPOCH + today)
    days_left = monthrange(when.year, when.month)[1] - when.day
    elapsed = (now_ms % DAY_MS) / DAY_MS
    history = _history(days_nano, today, elapsed)
    draws = _draws(history, today, days_left, np.random.default_rng(seed))
    draws[:, 0] *= 1 - elapsed  # the rest of today
    totals = month_nano + draws.sum(axis=1)
    p5, p50, p95 = np.percentile(totals, (5, 50, 95))
    return Forecast(
        month_end_ms=(today + days_left + 1) * DAY_MS,
        days_of_history=len(history),
        p5=round(p5),
        p50=round(p50),
        p95=round(p95),
        var95=round(p95),
        cvar95=round(float(totals[totals >= p95].mean())),
        caps=tuple(one for use in caps for one in _cap_forecasts(use, draws, now_ms)),
    )


def _history(days_nano: Mapping[int, int], today: int, elapsed: float) -> list[tuple[int, int]]:
    """Each whole past day with its spend, from the first day with any; without one, today at today's pace."""
    before = [day for day in days_nano if today - DAYS_LOOKED_AT <= day < today]
    if before:
        return [(day, days_nano.get(day, 0)) for day in range(min(before), today)]
    return [(today, round(days_nano.get(today, 0) / max(elapsed, ELAPSED_MIN)))]


def _draws(history: Sequence[tuple[int, int]], today: int, days_left: int, random: np.random.Generator) -> Amounts:
    """One row for each path, one column for each day: today and the month's remaining days."""
    every = np.array([nano for _, nano in history], dtype=np.float64)
    kinds = np.array([_is_week_end(day) for day, _ in history])
    columns = []
    for day in range(today, today + days_left + 1):
        alike = every[kinds == _is_week_end(day)]
        columns.append(random.choice(alike if len(alike) >= DAYS_OF_A_KIND_MIN else every, size=PATHS))
    return np.stack(columns, axis=1)


def _is_week_end(day: int) -> bool:
    return date.fromordinal(_EPOCH + day).weekday() >= SATURDAY


def _cap_forecasts(use: CapUse, draws: Amounts, now_ms: int) -> list[CapForecast]:
    """Forecasts the organization's own caps; other caps have no history by day."""
    if use.scope is not Scope.ORG:
        return []
    limits = (("soft", use.soft_nano), ("hard", use.hard_nano))
    return [_cap_forecast(use, kind, limit, draws, now_ms) for kind, limit in limits if limit is not None]


def _cap_forecast(use: CapUse, kind: str, limit_nano: int, draws: Amounts, now_ms: int) -> CapForecast:
    if use.spent_nano >= limit_nano:
        return CapForecast(use, kind, limit_nano, 1.0, now_ms)
    period = use.cap.partition(" ")[0]
    rest_of_day_ms = DAY_MS - now_ms % DAY_MS
    if period == "month":
        spent, spans_ms = draws, [rest_of_day_ms] + [DAY_MS] * (draws.shape[1] - 1)
    elif period == "day":
        spent, spans_ms = draws[:, :1], [rest_of_day_ms]
    else:
        rest_of_hour_ms = HOUR_MS - now_ms % HOUR_MS
        spent, spans_ms = draws[:, :1] * (rest_of_hour_ms / rest_of_day_ms), [rest_of_hour_ms]
    return _crossing(use, kind, limit_nano, spent, spans_ms, now_ms)


def _crossing(
    use: CapUse, kind: str, limit_nano: int, spent: Amounts, spans_ms: Sequence[int], now_ms: int
) -> CapForecast:
    """Estimates when the paths pass the limit, as if each day's spend were spread evenly over the day."""
    reached = use.spent_nano + np.cumsum(spent, axis=1)
    crosses = reached[:, -1] >= limit_nano
    if not crosses.any():
        return CapForecast(use, kind, limit_nano, 0.0, None)
    paths = np.flatnonzero(crosses)
    span = (reached[paths] >= limit_nano).argmax(axis=1)
    within = spent[paths, span]
    part = 1 - (reached[paths, span] - limit_nano) / within
    starts = np.concatenate(([0], np.cumsum(spans_ms)[:-1])).astype(np.float64)
    at_ms = now_ms + starts[span] + part * np.array(spans_ms, dtype=np.float64)[span]
    return CapForecast(use, kind, limit_nano, float(crosses.mean()), round(float(at_ms.mean())))


def month_of(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m}"
