"""What is said of a list of times: percentiles, as milliseconds. Pure."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

NANOSECONDS_A_MILLISECOND = 1_000_000


@dataclass(frozen=True)
class Figures:
    """Of `count` measured times, in milliseconds."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float

    def as_json(self) -> dict[str, float]:
        return asdict(self)

    def as_row(self) -> str:
        return f"{self.p50_ms:9.1f} {self.p90_ms:9.1f} {self.p99_ms:9.1f} {self.max_ms:9.1f} {self.count:7d}"


ROW_HEAD = f"{'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9} {'max ms':>9} {'count':>7}"


def figures_of(times_ns: Sequence[int]) -> Figures:
    """Raises ValueError when nothing was measured."""
    if not times_ns:
        raise ValueError("nothing was measured")
    ordered = sorted(times_ns)
    shown = [round(percentile(ordered, share) / NANOSECONDS_A_MILLISECOND, 3) for share in (0.5, 0.9, 0.99, 1.0)]
    return Figures(len(ordered), *shown)


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that at least this share of all does not exceed (nearest rank): always one that was measured.

    `share` lies above 0 and at most at 1.
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
