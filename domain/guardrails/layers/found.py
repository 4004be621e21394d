"""What a layer finds, and what it looks at."""

from typing import NamedTuple

from schemas.guardrail_policy import ORGANIZATION, Guarded, Layer

Seen = tuple[int, int, int, int]
"""A call as windows keep it: when it was made (ms), its fingerprint's first 64 bits, tokens_in, retry_count."""
AT, FINGERPRINT, TOKENS_IN, RETRIES = range(4)


class Found(NamedTuple):
    """Why a layer trips. `observed` reached `threshold`, in the layer's own unit; `calls` are the evidence."""

    layer: Layer
    reason: str
    observed: float
    threshold: float
    calls: tuple[Seen, ...] = ()
    guarded: Guarded = ORGANIZATION


def short(fingerprint: str) -> str:
    """As the document writes it: `sha256:b9c1...`."""
    return fingerprint if len(fingerprint) <= 24 else f"{fingerprint[:11]}..."
