"""Ends a worker that only looks alive; its supervisor starts it again, and others take over its partitions (F28, F30).

It looks about once a second (the group's lease is looked at more often, by lease.py) at:
- progress of the whole: records wait and none was handled for 60 s;
- each call of a handler: one batch that hangs while others go on, for 60 s;
- each partition's fetch: its records wait at the broker and none comes, while nothing else waits here, for 60 s (F31);
- the group: a rebalance that does not end for 60 s, in which the worker owns nothing, so that nothing seems to wait;
- the event loop itself. Heartbeats have a thread of their own and would go on for ever, so they are held back once the
  loop has not run for a session, and the group gives the partitions to others. A loop that does not run for 60 s ends
  the process: faulthandler's timer needs neither the loop nor Python's lock, and it writes the stack of every thread.

Where brokers are away for that long, the worker itself is not at fault, and a new process would find the same: it gives
up its assignment instead and joins again. That also replaces a producer that has got stuck.
"""

import asyncio
import faulthandler
import logging
import time
from collections.abc import Mapping
from typing import Protocol

from faust.types import TP

from operations.logs import event
from processors.runtime import metrics
from processors.runtime.errors import Stalled
from processors.runtime.open_transactions import OpenTransactionReport
from processors.runtime.vital_signs import VitalSigns

log = logging.getLogger(__name__)
STALLED_SECONDS = 60.0
LOOK_EVERY_SECONDS = 1.0
AWAY_SECONDS = 5.0
"""A broker that has not answered for so long is away, not just busy."""


class Worker(Protocol):
    """As much of the runtime as the watchdog needs."""

    @property
    def group(self) -> str:
        """The consumer group, which is the process's name."""
        ...

    def vital_signs(self, now: float) -> VitalSigns | None:
        """As of now (monotonic seconds); None before the worker has begun to fetch."""
        ...

    def fail(self, error: BaseException) -> None:
        """Ends the process."""
        ...

    def give_up(self, why: str) -> None:
        """Gives up the assignment; the process joins its group again."""
        ...


class Progress:
    """Mutable: given at each look the lag and the records handled so far, it says for how long nothing moved although
    records were waiting.
    """

    def __init__(self, now_seconds: float) -> None:
        self._moved_at = now_seconds
        self._handled = -1.0

    def stalled_for(self, lag_records: int, handled: float, now_seconds: float) -> float:
        if lag_records == 0 or handled != self._handled:
            self._moved_at = now_seconds
            self._handled = handled
        return now_seconds - self._moved_at


class IdleFetches:
    """Mutable: given at each look the offsets of the partitions whose records should come at once, it says which has
    been at the same offset the longest, and for how long. A partition that is not named in a look starts afresh.
    """

    def __init__(self) -> None:
        self._since: dict[TP, tuple[int, float]] = {}

    def longest(self, offsets: Mapping[TP, int], now_seconds: float) -> tuple[TP, float] | None:
        before, self._since = self._since, {}
        for tp, offset in offsets.items():
            earlier = before.get(tp)
            is_same = earlier is not None and earlier[0] == offset
            self._since[tp] = earlier if earlier is not None and is_same else (offset, now_seconds)
        if not self._since:
            return None
        tp = min(self._since, key=lambda one: self._since[one][1])
        return tp, now_seconds - self._since[tp][1]


class Watchdog:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._progress = Progress(time.monotonic())
        self._fetches = IdleFetches()
        self._transactions = OpenTransactionReport()

    async def run(self) -> None:
        """Until something is wrong, which then ends the process."""
        try:
            while True:
                faulthandler.dump_traceback_later(STALLED_SECONDS, exit=True)
                await asyncio.sleep(LOOK_EVERY_SECONDS)
                error = self.look(time.monotonic())
                if error is not None:
                    self._worker.fail(error)
                    return
        finally:
            faulthandler.cancel_dump_traceback_later()

    def look(self, now: float) -> Exception | None:
        """What ends the process, if anything. Gives up the assignment where a broker is the reason."""
        signs = self._worker.vital_signs(now)
        if signs is None or signs.failure is not None:
            return None if signs is None else signs.failure
        metrics.LAG_RECORDS.labels(self._worker.group).set(sum(signs.lag.values()))
        self._transactions.report(self._worker.group, signs.held_back, now)
        lag = _due_records(signs)
        why = (
            self._whole(lag, signs, now) or _call(signs, now) or self._fetch(signs, now) or self._rebalance(signs, now)
        )
        if why is None:
            return None
        away = _brokers_away(signs, now)
        if away is not None:
            self._progress, self._fetches = Progress(now), IdleFetches()
            self._worker.give_up(f"{why}: {away}")
            return None
        event(log, "worker.stalled", logging.ERROR, lag_records=lag, why=why)
        return Stalled(why)

    def _whole(self, lag: int, signs: VitalSigns, now: float) -> str | None:
        """Recovery is progress too: of a large table it takes longer than this patience."""
        seconds = self._progress.stalled_for(lag, signs.done, now)
        return f"{lag} records wait and none was handled for {seconds:.0f} s" if seconds > STALLED_SECONDS else None

    def _fetch(self, signs: VitalSigns, now: float) -> str | None:
        longest = self._fetches.longest(signs.idle, now)
        if longest is None or longest[1] <= STALLED_SECONDS:
            return None
        tp, seconds = longest
        behind = f"{signs.lag.get(tp, 0)} records of {tp.topic}[{tp.partition}]"
        why = signs.unreadable.get(tp, "and nobody knows why")
        return f"{behind} wait at the broker and none came for {seconds:.0f} s: {why}"

    def _rebalance(self, signs: VitalSigns, now: float) -> str | None:
        if signs.rebalancing_since is None:
            return None
        since = max(signs.rebalancing_since, signs.coordinator_away_at)  # before, no coordinator could end it
        if now - since <= STALLED_SECONDS:
            return None
        return f"a rebalance of the group {self._worker.group} has not ended for {now - since:.0f} s"


def _due_records(signs: VitalSigns) -> int:
    """Records that could be handled now, of the topics that count."""
    held = signs.held_back
    due = {tp: records - (held[tp].records if tp in held else 0) for tp, records in signs.lag.items()}
    return sum(records for tp, records in due.items() if tp.topic not in signs.unwatched)


def _brokers_away(signs: VitalSigns, now: float) -> str | None:
    if signs.outbox_stuck_seconds > AWAY_SECONDS:
        return f"brokers have taken none of this worker's records for {signs.outbox_stuck_seconds:.0f} s"
    if now - signs.fetch_unanswered_at <= STALLED_SECONDS:
        return "a broker that it reads from gives no answer"
    if now - signs.positions_unanswered_at <= STALLED_SECONDS:
        return "a broker gives no answer about where reading begins"
    if now - signs.coordinator_away_at <= STALLED_SECONDS:
        return "its group's coordinator is away"
    return None


def _call(signs: VitalSigns, now: float) -> str | None:
    call = signs.call
    if call is None or now - call.started_seconds <= STALLED_SECONDS:
        return None
    where = f"{call.tp.topic}[{call.tp.partition}] from offset {call.first_offset}"
    return f"{call.agent} handles {call.records} records of {where} for {now - call.started_seconds:.0f} s"
