"""Beyond the documents: two requests in turn (A B A B …), which layer 2 does not see."""

from collections.abc import Sequence

from domain.guardrails.layers.found import AT, FINGERPRINT, Found, Seen
from schemas.guardrail_policy import Layer, PingPong


def check(calls: Sequence[Seen], at: int, settings: PingPong, since_ms: int) -> Found | None:
    """The run of two fingerprints in turn with `at` in it, `rounds` of both within the window."""
    length = 2 * settings.rounds
    first, last = _run(calls, at, since_ms)
    for start in range(max(first, at - length + 1), min(at, last - length + 1) + 1):
        some = calls[start : start + length]
        if some[-1][AT] - some[0][AT] <= settings.window_seconds * 1_000:
            reason = f"two fingerprints in turn, {settings.rounds} times each within {settings.window_seconds}s"
            return Found(Layer.PING_PONG, reason, settings.rounds, settings.rounds, tuple(some))
    return None


def _run(calls: Sequence[Seen], at: int, since_ms: int) -> tuple[int, int]:
    """The first and the last index of the alternation around `at`; the same index twice if there is none."""
    first = last = at
    while first > 0 and calls[first - 1][AT] > since_ms and _fits(calls, first - 1, first, last):
        first -= 1
    while last + 1 < len(calls) and _fits(calls, last + 1, last, first):
        last += 1
    return first, last


def _fits(calls: Sequence[Seen], new: int, next_to: int, other_end: int) -> bool:
    """Differs from its neighbour, and is the same as that one's other neighbour where the run has one."""
    number = calls[new][FINGERPRINT]
    if number == calls[next_to][FINGERPRINT]:
        return False
    return next_to == other_end or number == calls[2 * next_to - new][FINGERPRINT]
