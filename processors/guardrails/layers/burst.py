"""Layer 4: more requests a minute than a key may make (B-037).

A key's calls are counted in steps of 5 s; the 12 steps up to one are at most a minute, so nothing is counted that is
older, and a burst is found at most 5 s of requests later than to the millisecond.
"""

from collections.abc import Mapping

from processors.guardrails.layers.found import Found
from schemas.guardrail_policy import Burst, Layer

STEP_MS = 5_000
STEPS = 12


def check(steps: Mapping[int, int], settings: Burst, since_ms: int) -> Found | None:
    """`steps`: calls by time in steps (time // STEP_MS)."""
    if sum(steps.values()) <= settings.per_minute:
        return None
    counted = sorted(step for step in steps if step * STEP_MS > since_ms)
    first = total = 0
    for step in counted:
        total += steps[step]
        while step - counted[first] >= STEPS:
            total -= steps[counted[first]]
            first += 1
        if total > settings.per_minute:
            reason = f"{total} requests of a key within a minute; {settings.per_minute} are allowed"
            return Found(Layer.BURST, reason, total, settings.per_minute)
    return None
