"""Rate classes and quotas: how often what may be asked, what a bucket is called, how a share of one is written.

A quota is a leaky bucket: `burst` requests deep, draining `per_minute` evenly. So at most `burst` at once, and over any
time that and what has drained meanwhile (A-079). Who has which quota, the strongest first: a `limit` entity
of the workspace (schemas/entities.py), the installation's overrides for it, those for all (`*`), the class's own.
Buckets live in gateways (ingest_gateway/limits), shares of them come from processors/rates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from schemas.entities import PER_MINUTE_MAX

MINUTE_SECONDS = 60
WHOLE_PPM = 1_000_000
"""A share is a whole number of millionths, so that shares add up to their bucket exactly."""
ANY_WORKSPACE = "*"


class Quota(NamedTuple):
    """`burst`: requests that fit the bucket. `per_minute`: requests that drain from it in a minute."""

    burst: int
    per_minute: int

    @property
    def window_seconds(self) -> int:
        """In which a full bucket drains, rounded up."""
        return -(-self.burst * MINUTE_SECONDS // self.per_minute)


@dataclass(frozen=True, slots=True)
class RateClass:
    """A kind of requests with a bucket of its own: one a workspace, or one a workspace and environment."""

    name: str
    quota: Quota
    by_environment: bool = False

    def bucket(self, workspace: str, environment: str) -> str:
        """What the bucket is called on `usage` and `quotas`; ids of workspaces have no slash."""
        return f"{workspace}/{environment if self.by_environment else ''}/{self.name}"


def _a_minute(requests: int) -> Quota:
    return Quota(burst=requests, per_minute=requests)


EVENTS = RateClass("events", Quota(burst=200, per_minute=1200), by_environment=True)
RATE_CLASSES: dict[str, RateClass] = {
    rate_class.name: rate_class
    for rate_class in (
        EVENTS,
        RateClass("work.read", _a_minute(300)),  # W-035
        RateClass("work.write", _a_minute(60)),  # W-036
        RateClass("work.ai", _a_minute(20)),  # W-037: reads and writes
        RateClass("spine.write", _a_minute(1000), by_environment=True),  # S-043
        RateClass("spine.read", _a_minute(300), by_environment=True),  # S-044
        RateClass("burn.ingest", Quota(burst=2_000, per_minute=60_000)),  # the document has none; these are ours
        RateClass("burn.guardrails", _a_minute(600)),
    )
}

Overrides = Mapping[str, Mapping[str, Quota]]
"""Quotas by workspace (or `*`) and class."""


class OverridesInvalid(Exception):
    """The message says what is wrong, as the end of a sentence that begins with the setting's name."""


def read_overrides(text: str, prefix: str = "") -> dict[str, dict[str, Quota]]:
    """`{"<workspace>": {"<class>": 6000}}`, or `{"per_minute": 6000, "burst": 1000}` in place of the number.

    A number is a minute's requests; the bucket keeps the class's own proportion of burst to rate. `prefix` stands
    before each class's name: `work.` for W-038's variable. Raises OverridesInvalid.
    """
    try:
        written = msgspec.json.decode(text, type=dict[str, dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise OverridesInvalid('must be JSON as {"<workspace>": {"<class>": 6000}}') from error
    return {
        workspace: {prefix + name: _quota(prefix + name, value) for name, value in classes.items()}
        for workspace, classes in written.items()
    }


def _quota(name: str, value: object) -> Quota:
    rate_class = RATE_CLASSES.get(name)
    if rate_class is None:
        raise OverridesInvalid(f"names the class {name}; there are {', '.join(RATE_CLASSES)}")
    if isinstance(value, dict) and value.keys() == {"per_minute", "burst"}:
        per_minute, burst = value["per_minute"], value["burst"]
    else:
        own = rate_class.quota
        per_minute = value
        burst = max(1, value * own.burst // own.per_minute) if isinstance(value, int) else 0
    if not (_is_count(per_minute) and _is_count(burst)):
        raise OverridesInvalid(f"must give {name} whole numbers from 1 to {PER_MINUTE_MAX}")
    return Quota(burst, per_minute)


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= PER_MINUTE_MAX


def burst_ppm(share_ppm: int, gateways: int) -> int:
    """Which part of the burst goes with a share of the rate: half of the burst is allocated evenly among the gateways,
    half as the rate is. So one that was idle has room for what comes before its share follows.
    """
    return (WHOLE_PPM // gateways + share_ppm) // 2
