"""Records held back by a Kafka producer's open transaction: nobody can read them, so no worker is at fault, and ending
one would not help. They are counted, and each transaction that stays open is logged once.
"""

import logging
from collections.abc import Mapping
from typing import NamedTuple

from faust.types import TP

from operations.logs import event
from processors.runtime import metrics

log = logging.getLogger(__name__)
LOGGED_AFTER_SECONDS = 30.0


class OpenTransaction(NamedTuple):
    """The oldest one of a partition: how many records are held back behind the last stable offset (`stable`), and since
    when that offset has not moved, by the monotonic clock.
    """

    records: int
    stable: int
    since_seconds: float


def open_transactions(
    ends: Mapping[TP, tuple[int, int]], before: Mapping[TP, OpenTransaction], now_seconds: float
) -> dict[TP, OpenTransaction]:
    """`ends`: of each partition the last stable offset, and its end. `before`: what an earlier look found."""
    found = {}
    for tp, (stable, high) in ends.items():
        if stable < high:
            earlier = before.get(tp)
            since = earlier.since_seconds if earlier is not None and earlier.stable == stable else now_seconds
            found[tp] = OpenTransaction(high - stable, stable, since)
    return found


class OpenTransactionReport:
    """Measures them, and logs when one has been open for long and when that one is over."""

    def __init__(self) -> None:
        self._logged: set[tuple[TP, int]] = set()

    def report(self, group: str, found: Mapping[TP, OpenTransaction], now_seconds: float) -> None:
        longest_seconds = max((now_seconds - one.since_seconds for one in found.values()), default=0.0)
        metrics.HELD_BACK_RECORDS.labels(group).set(sum(one.records for one in found.values()))
        metrics.HELD_BACK_SECONDS.labels(group).set(longest_seconds)
        still_open = {(tp, one.stable) for tp, one in found.items()}
        for tp, stable in self._logged - still_open:
            event(log, "transaction.over", topic=tp.topic, partition=tp.partition, offset=stable)
        self._logged &= still_open
        for tp, one in found.items():
            if now_seconds - one.since_seconds > LOGGED_AFTER_SECONDS and (tp, one.stable) not in self._logged:
                self._logged.add((tp, one.stable))
                where = {"topic": tp.topic, "partition": tp.partition, "offset": one.stable}
                event(log, "transaction.open", logging.WARNING, **where, records=one.records)
