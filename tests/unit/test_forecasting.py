"""The forecast: even days give it exactly, scattered ones its spread; caps, their likelihood and when."""

import random

import pytest

from ingest_gateway.surfaces.burn.forecasting import DAY_MS, Forecast, forecast
from schemas.guardrail_policy import Scope, nano
from schemas.telemetry import CapUse

NOON_MS = 1_779_105_600_000  # 2026-05-18T12:00:00Z: 13 days of May are left after it
TODAY = NOON_MS // DAY_MS


def run(days: dict[int, int], month_usd: float, *caps: CapUse, now_ms: int = NOON_MS, seed: int = 1) -> Forecast:
    return forecast(days, nano(month_usd), caps, now_ms, seed)


def cap(name: str, spent_usd: float, hard_usd: float, scope: Scope = Scope.ORG) -> CapUse:
    return CapUse(
        cap=name,
        scope=scope,
        id="",
        spent_nano=nano(spent_usd),
        reserved_nano=0,
        soft_nano=None,
        hard_nano=nano(hard_usd),
    )


def even(usd: float, count: int = 28) -> dict[int, int]:
    return {TODAY - n: nano(usd) for n in range(1, count + 1)} | {TODAY: nano(usd / 2)}


@pytest.mark.requirement("B-065")
def test_even_days_leave_no_doubt() -> None:
    found = run(even(10), 175)
    wanted = nano(175 + 5 + 13 * 10)
    assert {found.p5, found.p50, found.p95, found.var95, found.cvar95} == {wanted}
    assert (found.days_of_history, found.month_end_ms) == (28, (TODAY + 14) * DAY_MS)


@pytest.mark.requirement("B-065")
def test_scattered_days_spread_it() -> None:
    chance = random.Random(5)
    days = {TODAY - n: nano(chance.uniform(1, 40)) for n in range(1, 50)}
    found = run(days, 100)
    assert found.p5 < found.p50 < found.p95 == found.var95 < found.cvar95
    mean = sum(days.values()) / len(days)
    assert found.p50 == pytest.approx(nano(100) + 13.5 * mean, rel=0.1)
    assert run(days, 100) == found, "the same draws"
    assert run(days, 100, seed=2) != found


def test_week_ends_are_drawn_from_week_ends() -> None:
    days = {TODAY - n: nano(1 if (TODAY - n + 3) % 7 >= 5 else 11) for n in range(1, 29)}
    found = run(days, 0)
    assert found.p5 == found.p95 == nano(11 * (0.5 + 9) + 4 * 1)  # 23, 24, 30 and 31 May


def test_without_a_whole_day_the_pace_of_today_is_all_there_is() -> None:
    found = run({TODAY: nano(6)}, 6)
    assert found.p50 == nano(6 + 6 + 13 * 12)
    assert run({}, 0).p95 == 0


@pytest.mark.parametrize(
    ("use", "probability", "after_days"),
    [
        (cap("month org", 175, 230), 1.0, 5.5),  # 5 today, then 10 a day
        (cap("month org", 175, 1_000), 0.0, None),
        (cap("month org", 300, 200), 1.0, 0.0),  # passed already
        (cap("day org", 5, 7.5), 1.0, 0.25),
        (cap("day org", 5, 10.5), 0.0, None),
        (cap("hour org", 0, 0.4), 1.0, 0.04),
    ],
)
def test_when_a_cap_is_reached(use: CapUse, probability: float, after_days: float | None) -> None:
    [found] = run(even(10), 175, use).caps
    assert found.probability == probability
    if after_days is None:
        assert found.expected_ms is None
    else:
        assert found.expected_ms == pytest.approx(NOON_MS + after_days * DAY_MS, abs=2)


def test_a_cap_may_be_reached_or_not() -> None:
    days = {TODAY - n: nano(20 if n % 2 else 0) for n in range(1, 29)}
    [found] = run(days, 0, cap("month org", 0, 135)).caps
    assert 0.3 < found.probability < 0.7
    assert found.expected_ms is not None
    assert NOON_MS < found.expected_ms < (TODAY + 14) * DAY_MS


def test_of_others_than_the_organization_there_is_no_history() -> None:
    assert run(even(10), 175, cap("day project *", 1, 2, Scope.PROJECT)).caps == ()


def test_on_the_months_last_day_only_its_rest_is_left() -> None:
    last_ms = NOON_MS + 13 * DAY_MS
    days = {last_ms // DAY_MS - n: nano(10) for n in range(1, 29)}
    assert run(days, 300, now_ms=last_ms).p50 == nano(305)
