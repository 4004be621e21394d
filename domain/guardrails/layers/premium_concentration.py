"""Layer 5: nearly all of an hour's spend goes to premium models, and it is much (B-038)."""

from collections.abc import Mapping

from domain.guardrails.layers.found import Found
from schemas.guardrail_policy import NANO_PER_USD, Layer, PremiumConcentration, nano

MINUTE_MS = 60_000
WINDOW_MINUTES = 60


def check(
    minutes: Mapping[int, tuple[int, int]], now_ms: int, settings: PremiumConcentration, since_ms: int
) -> Found | None:
    """`minutes`: by time in minutes the spend, and the premium models' part of it."""
    now_minute = now_ms // MINUTE_MS
    first = max(now_minute - WINDOW_MINUTES + 1, since_ms // MINUTE_MS + 1)
    total = premium = 0
    for minute, (all_nano, premium_nano) in minutes.items():
        if first <= minute <= now_minute:
            total += all_nano
            premium += premium_nano
    if total == 0 or premium <= settings.share_min * total or premium < nano(settings.spend_usd_min):
        return None
    share = premium / total
    reason = f"premium models took {share:.0%} of the last hour's spend, {premium / NANO_PER_USD:.2f} USD"
    return Found(Layer.PREMIUM_CONCENTRATION, reason, round(share, 4), settings.share_min)
