"""What waits for a Kafka producer's open transaction: nobody can read it, so it is no worker's fault, and no worker's
end would help. It is measured, and told once of each transaction that stays open.
"""

import logging
from collections.abc import Mapping
from typing import NamedTuple

from faust.types import TP

from operations.logs import event
from processors.runtime import metrics

log = logging.getLogger(__name__)
TOLD_SECONDS = 30.0


class HeldBack(NamedTuple):
    """Records behind a partition's last stable offset (`stable`), and since when that offset has stood there, by the
    monotonic clock.
    """

    records: int
    stable: int
    since_seconds: float


def held_back(
    ends: Mapping[TP, tuple[int, int]], before: Mapping[TP, HeldBack], now_seconds: float
) -> dict[TP, HeldBack]:
    """Pure. `ends`: the last stable offset, and where the partition ends. `before`: what an earlier look found."""
    found = {}
    for tp, (stable, high) in ends.items():
        if stable < high:
            since = before.get(tp)
            stood = since.since_seconds if since is not None and since.stable == stable else now_seconds
            found[tp] = HeldBack(high - stable, stable, stood)
    return found


class HeldBackReport:
    def __init__(self) -> None:
        self._told: set[tuple[TP, int]] = set()

    def report(self, group: str, held: Mapping[TP, HeldBack], now_seconds: float) -> None:
        longest_seconds = max((now_seconds - one.since_seconds for one in held.values()), default=0.0)
        metrics.HELD_BACK_RECORDS.labels(group).set(sum(one.records for one in held.values()))
        metrics.HELD_BACK_SECONDS.labels(group).set(longest_seconds)
        there = {(tp, one.stable) for tp, one in held.items()}
        for tp, stable in self._told - there:
            event(log, "transaction.over", topic=tp.topic, partition=tp.partition, offset=stable)
        self._told &= there
        for tp, one in held.items():
            if now_seconds - one.since_seconds > TOLD_SECONDS and (tp, one.stable) not in self._told:
                self._told.add((tp, one.stable))
                where = {"topic": tp.topic, "partition": tp.partition, "offset": one.stable}
                event(log, "transaction.open", logging.WARNING, **where, records=one.records)
