"""Layer 3: a session whose context grows call by call along a line: an agent that feeds on itself (B-036)."""

from collections.abc import Sequence

from domain.guardrails.layers.found import AT, TOKENS_IN, Found, Seen
from schemas.guardrail_policy import Layer, SmartLoop


def check(calls: Sequence[Seen], at: int, settings: SmartLoop, since_ms: int) -> Found | None:
    """The run of growing tokens_in with `at` in it, whole or its last `calls`, which may lie along a line better."""
    first = last = at
    while first > 0 and calls[first - 1][TOKENS_IN] < calls[first][TOKENS_IN] and calls[first - 1][AT] > since_ms:
        first -= 1
    while last + 1 < len(calls) and calls[last][TOKENS_IN] < calls[last + 1][TOKENS_IN]:
        last += 1
    if last - first + 1 < settings.calls:
        return None
    run = calls[first : last + 1]
    return _along_a_line(run, settings) or _along_a_line(run[-settings.calls :], settings)


def _along_a_line(run: Sequence[Seen], settings: SmartLoop) -> Found | None:
    tokens = [call[TOKENS_IN] for call in run]
    if tokens[-1] < settings.growth_min * tokens[0]:
        return None
    fit = fit_of(tokens)
    if fit < settings.fit_min:
        return None
    reason = f"context grew from {tokens[0]} to {tokens[-1]} tokens along a line in {len(run)} calls (R² {fit:.3f})"
    return Found(Layer.SMART_LOOP, reason, round(fit, 4), settings.fit_min, tuple(run))


def fit_of(values: Sequence[int]) -> float:
    """R² of the straight line through them, 0 to 1; equal values lie on no line that grows: 0."""
    count = len(values)
    mean_x, mean_y = (count - 1) / 2, sum(values) / count
    across = sum((x - mean_x) * (y - mean_y) for x, y in enumerate(values))
    spread_x = sum((x - mean_x) ** 2 for x in range(count))
    spread_y = sum((y - mean_y) ** 2 for y in values)
    return across * across / (spread_x * spread_y) if spread_x and spread_y else 0.0
