"""Layer 2: the same request again and again (B-023, B-034)."""

from collections.abc import Sequence

from domain.guardrails.layers.found import AT, FINGERPRINT, Found, Seen, short
from schemas.guardrail_policy import DumbLoop, Layer


def check(calls: Sequence[Seen], at: int, fingerprint: str, settings: DumbLoop, since_ms: int) -> Found | None:
    """One after the other: a run of equal fingerprints with `at` in it, `repeats` of them within the window."""
    number = calls[at][FINGERPRINT]
    first = last = at
    while first > 0 and calls[first - 1][FINGERPRINT] == number and calls[first - 1][AT] > since_ms:
        first -= 1
    while last + 1 < len(calls) and calls[last + 1][FINGERPRINT] == number:
        last += 1
    return _within(calls[first : last + 1], at - first, fingerprint, settings)


def check_any(calls: Sequence[Seen], at: int, fingerprint: str, settings: DumbLoop, since_ms: int) -> Found | None:
    """Other calls may come between: `calls` are those of one fingerprint only."""
    forgiven = sum(call[AT] <= since_ms for call in calls)
    return _within(calls[forgiven:], at - forgiven, fingerprint, settings)


def _within(run: Sequence[Seen], at: int, fingerprint: str, settings: DumbLoop) -> Found | None:
    repeats, window_ms = settings.repeats, settings.window_seconds * 1_000
    for start in range(max(0, at - repeats + 1), min(at, len(run) - repeats) + 1):
        some = run[start : start + repeats]
        if some[-1][AT] - some[0][AT] <= window_ms:
            reason = f"fingerprint {short(fingerprint)} seen {repeats} times in {settings.window_seconds}s"
            return Found(Layer.DUMB_LOOP, reason, repeats, repeats, tuple(some))
    return None
