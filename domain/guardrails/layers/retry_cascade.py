"""Beyond the documents: calls that were each retried again and again, one after the other (B-061)."""

from collections.abc import Sequence

from domain.guardrails.layers.found import AT, RETRIES, Found, Seen
from schemas.guardrail_policy import Layer, RetryCascade


def check(calls: Sequence[Seen], at: int, settings: RetryCascade, since_ms: int) -> Found | None:
    """So many that were retried, `at` among them, from the first to the last of them within the window."""
    if calls[at][RETRIES] < settings.retries_min:
        return None
    retried = [call for call in calls if call[AT] > since_ms and call[RETRIES] >= settings.retries_min]
    index = sum(call[RETRIES] >= settings.retries_min and call[AT] > since_ms for call in calls[:at])
    for start in range(max(0, index - settings.calls + 1), min(index, len(retried) - settings.calls) + 1):
        some = retried[start : start + settings.calls]
        if some[-1][AT] - some[0][AT] <= settings.window_seconds * 1_000:
            retries = sum(call[RETRIES] for call in some)
            reason = f"{len(some)} calls retried {retries} times within {settings.window_seconds}s"
            return Found(Layer.RETRY_CASCADE, reason, len(some), settings.calls, tuple(some))
    return None
