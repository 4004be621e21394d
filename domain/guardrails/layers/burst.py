"""Layer 4: more requests a minute than a key may make (B-037), sustained for two minutes, or a minute's within 20 s.

Either alone would not do: the trace of a real service that runs at 150 a minute has a minute with 723, which is no
runaway, and never more than 960 in two or 500 in 20 s. So a rate above the limit is found within two minutes, and a
flood at once. A key's calls are counted in steps of 5 s; nothing older than the window is ever counted.
"""

from collections.abc import Mapping

from domain.guardrails.layers.found import Found
from schemas.guardrail_policy import Burst, Layer

STEP_MS = 5_000
SUSTAINED_SECONDS, FLOOD_SECONDS = 120, 20
SUSTAINED_STEPS, FLOOD_STEPS = SUSTAINED_SECONDS * 1_000 // STEP_MS, FLOOD_SECONDS * 1_000 // STEP_MS


def check(steps: Mapping[int, int], settings: Burst, since_ms: int) -> Found | None:
    """`steps`: calls by time in steps (time // STEP_MS)."""
    limit = settings.per_minute
    if sum(steps.values()) <= limit:
        return None
    counted = {step: calls for step, calls in sorted(steps.items()) if step * STEP_MS > since_ms}
    flood = busiest(counted, FLOOD_STEPS)
    if flood > limit:
        reason = f"{flood} requests of a key within {FLOOD_SECONDS}s; {limit} a minute are allowed"
        return Found(Layer.BURST, reason, flood, limit)
    sustained = busiest(counted, SUSTAINED_STEPS)
    if sustained * 60 > limit * SUSTAINED_SECONDS:
        reason = f"{sustained} requests of a key within {SUSTAINED_SECONDS}s; {limit} a minute are allowed"
        return Found(Layer.BURST, reason, sustained * 60 / SUSTAINED_SECONDS, limit)
    return None


def busiest(steps: Mapping[int, int], width: int) -> int:
    """The most calls in any `width` steps one after the other; `steps` in ascending order."""
    order = list(steps)
    first = total = most = 0
    for step in order:
        total += steps[step]
        while step - order[first] >= width:
            total -= steps[order[first]]
            first += 1
        most = max(most, total)
    return most
