"""What the gateway is to reach, held against one run's figures. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.peers.table import Found, Rounds, ratio, spreads_of

CPU, RATE = "gateway_us", "events_per_second"


@dataclass(frozen=True)
class Goal:
    """`met` is None where a row is missing or invalid."""

    what: str
    value: float | None
    met: bool | None

    def shown(self) -> str:
        verdict = {True: "met", False: "MISSED", None: "not measured"}[self.met]
        return f"{self.what}: {verdict}" + ("" if self.value is None else f" ({self.value:,.2f})")


@dataclass(frozen=True)
class _Wanted:
    part: str
    what: str
    figure: str
    bound: float
    least: bool = False
    to: str | None = None
    """The gateway whose figure ours is divided by; None: ours as it is."""
    per_second_of_cpu: bool = False


def held(found: Found, ours: str, bare: str, before: str) -> list[Goal]:
    """Medians against the goals."""
    return [_held(found, wanted, ours) for wanted in _wanted(bare, before)]


def _wanted(bare: str, before: str) -> list[_Wanted]:
    goals = []
    for part, name in (("batch-100", "batches of 100"), ("batch-500", "batches of 500"), ("ndjson", "NDJSON")):
        goals += [
            _Wanted(part, f"{name}: gateway CPU ≤ 0.7 × the bare gateway's", CPU, 0.7, to=bare),
            _Wanted(part, f"{name}: gateway CPU ≤ 0.2 × the commit before", CPU, 0.2, to=before),
            _Wanted(part, f"{name}: ≥ 80,000 events/s a core", CPU, 80_000, least=True, per_second_of_cpu=True),
        ]
    return [
        *goals,
        _Wanted("ndjson", "NDJSON: memory grows by ≤ 20 MiB", "grown_mib", 20),
        _Wanted("single", "single: gateway CPU ≤ 1.3 × the bare gateway's", CPU, 1.3, to=bare),
        _Wanted("single", "single: ≥ 0.8 × the bare gateway's requests/s", RATE, 0.8, least=True, to=bare),
        _Wanted("keyed", "with a key: ≥ 2.5 × the commit before", RATE, 2.5, least=True, to=before),
        _Wanted("half", "p99 at half of the maximum rate ≤ 25 ms", "p99_ms", 25),
        _Wanted("rest", "at rest ≤ 0.5 % of a core", "core_percent", 0.5),
        _Wanted("rest", "at rest ≤ 90 MiB", "rss_mib", 90),
    ]


def _held(found: Found, wanted: _Wanted, ours: str) -> Goal:
    rows = found.get(wanted.part, {})
    value = _value(rows, wanted, ours)
    if value is None:
        return Goal(wanted.what, None, None)
    return Goal(wanted.what, value, value >= wanted.bound if wanted.least else value <= wanted.bound)


def _value(rows: Mapping[str, Rounds], wanted: _Wanted, ours: str) -> float | None:
    spread = (
        spreads_of(rows.get(ours, ())).get(wanted.figure)
        if wanted.to is None
        else ratio(rows.get(ours, ()), rows.get(wanted.to, ()), wanted.figure)
    )
    if spread is None:
        return None
    return 1e6 / spread.median if wanted.per_second_of_cpu else spread.median
