"""Spend by hour, day and month, in UTC. Periods are numbered from the epoch."""

from collections.abc import Mapping
from datetime import date
from functools import lru_cache

from domain.guardrails.values import DAYS_KEPT, Spent
from schemas.guardrail_policy import Period

MINUTES_AN_HOUR, MINUTES_A_DAY = 60, 1_440
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
HOURS_KEPT, MONTHS_KEPT, DAYS_KEPT_OF_PARTS = 3, 3, 3
_EPOCH = date(1970, 1, 1).toordinal()


@lru_cache(1_024)
def month_of(day: int) -> int:
    """The month's number (since year 0) of a day's (since the epoch)."""
    when = date.fromordinal(_EPOCH + day)
    return when.year * 12 + when.month - 1


def number_of(period: Period, at_ms: int) -> int:
    if period is Period.HOUR:
        return at_ms // HOUR_MS
    day = at_ms // DAY_MS
    return day if period is Period.DAY else month_of(day)


def spent_in(spent: Spent, period: Period, at_ms: int) -> int:
    """In the period that `at_ms` lies in."""
    by_number = {Period.HOUR: spent.hours, Period.DAY: spent.days, Period.MONTH: spent.months}[period]
    return by_number.get(number_of(period, at_ms), 0)


def add(spent: Spent, minutes: Mapping[int, int], days_kept: int = DAYS_KEPT) -> None:
    """`minutes`: what was spent by minute (since the epoch), late ones too: each counts in its own periods."""
    hours, days, months = spent.hours, spent.days, spent.months
    for minute, nano in minutes.items():
        hour, day = minute // MINUTES_AN_HOUR, minute // MINUTES_A_DAY
        month = month_of(day)
        hours[hour] = hours.get(hour, 0) + nano
        days[day] = days.get(day, 0) + nano
        months[month] = months.get(month, 0) + nano
    keep_newest(hours, HOURS_KEPT)
    keep_newest(days, days_kept)
    keep_newest(months, MONTHS_KEPT)


def keep_newest(by_number: "dict[int, int]", count: int) -> None:
    while len(by_number) > count:
        del by_number[min(by_number)]
