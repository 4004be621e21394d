"""Beyond the documents: at the present pace a daily cap is passed within minutes, so somebody should look now."""

from collections.abc import Mapping

from domain.guardrails.layers.found import Found
from domain.guardrails.layers.premium_concentration import MINUTE_MS
from schemas.guardrail_policy import NANO_PER_USD, BurnRate, Layer

SPENDING_MINUTES_MIN = 3


def check(
    minutes: Mapping[int, tuple[int, int]],
    day_nano: int,
    cap_nano: int,
    now_ms: int,
    settings: BurnRate,
    since_ms: int,
) -> Found | None:
    """`day_nano`: spent today. A pace is one only when several of the minutes had spend."""
    now_minute = now_ms // MINUTE_MS
    first = max(now_minute - settings.over_minutes + 1, since_ms // MINUTE_MS + 1)
    spent = [all_nano for minute, (all_nano, _) in minutes.items() if first <= minute <= now_minute and all_nano]
    if len(spent) < SPENDING_MINUTES_MIN or day_nano >= cap_nano:
        return None
    pace_nano = sum(spent) / settings.over_minutes
    minutes_left = (cap_nano - day_nano) / pace_nano
    if minutes_left > settings.minutes:
        return None
    pace_usd, cap_usd = pace_nano / NANO_PER_USD, cap_nano / NANO_PER_USD
    reason = f"at {pace_usd:.2f} USD a minute the day's {cap_usd:.2f} USD are spent in {minutes_left:.0f} min"
    return Found(Layer.BURN_RATE, reason, round(minutes_left, 2), settings.minutes)
