"""Beyond the documents: calls that were each retried again and again, one after the other (B-061)."""

from collections.abc import Sequence

from processors.guardrails.layers.found import AT, RETRIES, Found, Seen
from schemas.guardrail_policy import Layer, RetryCascade


def check(calls: Sequence[Seen], at: int, settings: RetryCascade, since_ms: int) -> Found | None:
    """So many within the window up to `at`."""
    if calls[at][RETRIES] < settings.retries_min:
        return None
    after_ms = max(since_ms, calls[at][AT] - settings.window_seconds * 1_000 - 1)
    retried = tuple(call for call in calls[: at + 1] if call[AT] > after_ms and call[RETRIES] >= settings.retries_min)
    if len(retried) < settings.calls:
        return None
    retries = sum(call[RETRIES] for call in retried)
    reason = f"{len(retried)} calls retried {retries} times within {settings.window_seconds}s"
    return Found(Layer.RETRY_CASCADE, reason, len(retried), settings.calls, retried)
