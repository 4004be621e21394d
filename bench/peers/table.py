"""What is said of the measurements: medians with their spread, ratios round by round, the printed table. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.peers.events import PARTS


@dataclass(frozen=True)
class Measurement:
    """`figures` by the names of COLUMNS. `faults`: why it does not count; none where it does."""

    figures: dict[str, float] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and the least and the most of them."""

    median: float
    least: float
    most: float

    def shown(self) -> str:
        """To about three digits, and no -0; one round has no spread."""
        size = abs(self.median)
        decimals = 0 if size >= 100 else 1 if size >= 10 else 2
        ends = (self.median, self.least, self.most)
        median, least, most = (f"{round(one, decimals) + 0.0:,.{decimals}f}" for one in ends)
        return median if self.least == self.most else f"{median} ({least}–{most})"


Rounds = Sequence[Measurement]
Found = Mapping[str, Mapping[str, Rounds]]
"""By part (events.PARTS), then by gateway."""

# (figure, heading)
COLUMNS = (
    ("core_percent", "% of a core"),
    ("rss_mib", "memory MiB"),
    ("requests_per_second", "requests/s"),
    ("events_per_second", "events/s"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("max_ms", "max ms"),
    ("gateway_us", "gateway µs"),
    ("broker_us", "broker µs"),
    ("processors_us", "processors µs"),
    ("client_us", "client µs"),
    ("grown_mib", "grown MiB"),
)
_BATCHES = ("batch-100", "batch-500", "batch-1000")
ONLY_OF = {
    "grown_mib": ("ndjson",),
    "max_ms": ("half",),
    "requests_per_second": ("single", "half", *_BATCHES, "keyed"),  # NDJSON's are a 10,000th of its events
    "events_per_second": (*_BATCHES, "ndjson"),  # single ones are as many as requests
}
"""Columns that are shown in these parts alone; the JSON has all."""
COMPARED = (("gateway_us", "gateway CPU"), ("requests_per_second", "requests/s"))
UNCOMPARED = ("rest", "half")


def spread_of(values: Sequence[float]) -> Spread:
    """Raises StatisticsError where there is none."""
    return Spread(statistics.median(values), min(values), max(values))


def faults_in(rounds: Rounds) -> list[str]:
    return [fault for one in rounds for fault in one.faults]


def spreads_of(rounds: Rounds) -> dict[str, Spread]:
    """Of each figure that all rounds have; nothing of a row that is invalid or empty."""
    if not rounds or faults_in(rounds):
        return {}
    common = set.intersection(*(set(one.figures) for one in rounds))
    return {name: spread_of([one.figures[name] for one in rounds]) for name in rounds[0].figures if name in common}


def ratio(ours: Rounds, theirs: Rounds, figure: str) -> Spread | None:
    """Round by round, so that what slowed a whole round down cancels out; None where a row is invalid or lacks it."""
    if figure not in spreads_of(ours) or figure not in spreads_of(theirs):
        return None
    pairs = list(zip(ours, theirs, strict=False))
    if any(not other.figures[figure] for _, other in pairs):
        return None
    return spread_of([one.figures[figure] / other.figures[figure] for one, other in pairs])


def lines(found: Found, bases: Sequence[str]) -> list[str]:
    """The whole table. `bases`: the gateways whose figures the first one's are divided by."""
    told: list[str] = []
    for part, rows in found.items():
        told += ["", PARTS[part], *_part(part, rows), *_ratios(part, rows, bases)]
    return told[1:]


def _part(part: str, rows: Mapping[str, Rounds]) -> list[str]:
    spreads = {name: spreads_of(rounds) for name, rounds in rows.items()}
    shown = [
        (name, heading)
        for name, heading in COLUMNS
        if any(name in spread for spread in spreads.values()) and part in ONLY_OF.get(name, (part,))
    ]
    cells = [["", *(heading for _, heading in shown)]]
    for gateway, spread in spreads.items():
        cells.append([gateway, *(spread[name].shown() if name in spread else "–" for name, _ in shown)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    aligned = [f"  {row[0]:<{widths[0]}}" + _right(row[1:], widths[1:]) for row in cells]
    for number, rounds in enumerate(rows.values(), start=1):
        if faults := faults_in(rounds):
            name = next(iter(cells[number]))
            aligned[number] = f"  {name:<{widths[0]}}  INVALID: {'; '.join(dict.fromkeys(faults))}"
    return aligned


def _right(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _ratios(part: str, rows: Mapping[str, Rounds], bases: Sequence[str]) -> list[str]:
    if part in UNCOMPARED or not rows:
        return []
    first = next(iter(rows))
    told = []
    for base in bases:
        if base == first or base not in rows:
            continue
        found = {heading: ratio(rows[first], rows[base], figure) for figure, heading in COMPARED}
        said = ", ".join(f"{heading} × {one.shown()}" for heading, one in found.items() if one is not None)
        if said:
            told.append(f"  {first} to {base}: {said}")
    return told
