"""What panels are made of: queries with their legends, single numbers, graphs."""

from typing import NamedTuple

RATE = "$__rate_interval"
SURFACE = '{surface=~"$surface"}'
OURS = '{job="atlas"}'


class Query(NamedTuple):
    """`legend` may name labels as `{{label}}`."""

    expr: str
    legend: str = ""


class Stat(NamedTuple):
    """One number. `orange`, `red`: from which value on."""

    title: str
    description: str
    unit: str
    expr: str
    orange: float | None = None
    red: float | None = None


class Graph(NamedTuple):
    title: str
    description: str
    unit: str
    queries: list[Query]
    stacked: bool = False


def rate(metric: str, by: str = "", labels: str = "", legend: str = "") -> Query:
    """A counter's increase a second."""
    if not by:
        return Query(f"sum(rate({metric}{labels}[{RATE}])) or vector(0)", legend)
    return Query(f"sum by ({by}) (rate({metric}{labels}[{RATE}]))", legend or _legend(by))


def now(gauge: str, by: str = "", legend: str = "") -> Query:
    return Query(f"sum by ({by}) ({gauge})", legend or _legend(by)) if by else Query(f"sum({gauge})", legend)


def worst(gauge: str, by: str, legend: str = "") -> Query:
    return Query(f"max by ({by}) ({gauge})", legend or _legend(by))


def quantile(share: float, histogram: str, by: str = "", labels: str = "") -> str:
    buckets = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({buckets}) (rate({histogram}_bucket{labels}[{RATE}])))"


def latency(histogram: str, by: str = "", labels: str = "") -> list[Query]:
    """p50 and p99."""
    name = f"{_legend(by)} " if by else ""
    return [Query(quantile(share, histogram, by, labels), f"{name}p{share * 100:.0f}") for share in (0.5, 0.99)]


def mean(histogram: str, by: str = "", legend: str = "") -> Query:
    total, count = (rate(f"{histogram}_{part}", by).expr.removesuffix(" or vector(0)") for part in ("sum", "count"))
    return Query(f"{total} / {count}", legend or _legend(by))


def _legend(by: str) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
