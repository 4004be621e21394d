"""Ends a worker that only looks alive; its supervisor starts it again, and others take over what it held (F28, F30).

What is looked at, about once a second (the group's lease is looked at more often, by lease.py):
- progress of the whole: records wait and none was handled for 60 s;
- each call of a handler: a batch that hangs alone, while others go on, for 60 s;
- each partition's fetch: its records wait at the broker and none comes, while nothing else waits here, for 60 s (F31);
- the group: a rebalance that does not end for 60 s, in which nothing is owned and so nothing seems to wait;
- the event loop itself. Heartbeats come from a thread of their own and would go on for ever, so they are held back once
  the loop has not run for a session, and the group gives the partitions to others. A loop that does not come back for
  60 s ends the process: faulthandler's timer needs neither the loop nor Python's lock, and leaves every thread's stack.

Where brokers are away that long, it is not this worker that stands still, and another start of it would find the same:
it gives up its assignment instead and joins again. So a producer that has got stuck is replaced as well.
"""

import asyncio
import faulthandler
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from faust.types import TP

from operations.logs import event
from processors.runtime import metrics
from processors.runtime.fetcher import Fetcher
from processors.runtime.held_back import HeldBackReport

if TYPE_CHECKING:
    from processors.runtime.runtime import Runtime

log = logging.getLogger(__name__)
STALLED_SECONDS = 60.0
LOOK_EVERY_SECONDS = 1.0
AWAY_SECONDS = 5.0
"""A broker that has not answered for so long is away, and no more busy."""


class Stalled(Exception):
    """There is work on the log, and none of it was done for too long."""


class Progress:
    """Pure: told the lag and the records handled so far, says for how long nothing moved although work was due."""

    def __init__(self, now_seconds: float) -> None:
        self._moved_at = now_seconds
        self._handled = -1.0

    def stalled_for(self, lag_records: int, handled: float, now_seconds: float) -> float:
        if lag_records == 0 or handled != self._handled:
            self._moved_at = now_seconds
            self._handled = handled
        return now_seconds - self._moved_at


class StandingStill:
    """Pure: told each look where the partitions stand that have work due, says which has stood the longest, and for how
    long. One that is not named in a look has no work due, and begins anew.
    """

    def __init__(self) -> None:
        self._since: dict[TP, tuple[int, float]] = {}

    def longest(self, stands: Mapping[TP, int], now_seconds: float) -> tuple[TP, float] | None:
        before, self._since = self._since, {}
        for tp, offset in stands.items():
            stood = before.get(tp)
            self._since[tp] = stood if stood is not None and stood[0] == offset else (offset, now_seconds)
        if not self._since:
            return None
        tp = min(self._since, key=lambda one: self._since[one][1])
        return tp, now_seconds - self._since[tp][1]


class Watchdog:
    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        self._progress = Progress(time.monotonic())
        self._fetches = StandingStill()
        self._held_back = HeldBackReport()
        self._without_coordinator_at = float("-inf")

    async def run(self) -> None:
        """Until something is wrong, which then ends the process."""
        try:
            while True:
                faulthandler.dump_traceback_later(STALLED_SECONDS, exit=True)
                await asyncio.sleep(LOOK_EVERY_SECONDS)
                error = self._look(time.monotonic())
                if error is not None:
                    self._runtime.fail(error)
                    return
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _look(self, now: float) -> Exception | None:
        fetcher = self._runtime.consumer.fetcher
        if fetcher is None:
            return None
        failure = fetcher.failure or self._runtime.consumer.failure()
        if failure is not None:
            return failure
        self._without_coordinator_at = max(self._without_coordinator_at, self._runtime.consumer.coordinator_away_at)
        away = self._brokers_away(fetcher, now)
        lags = fetcher.lag()
        held = fetcher.held_back()
        metrics.LAG_RECORDS.labels(self._runtime.group).set(sum(lags.values()))
        self._held_back.report(self._runtime.group, held, now)
        due = {tp: records - (held[tp].records if tp in held else 0) for tp, records in lags.items()}
        lag = sum(records for tp, records in due.items() if tp.topic not in self._runtime.unwatched)
        why = self._whole(lag, now) or self._call(now) or self._fetch(fetcher, now) or self._rebalance(now)
        if why is None:
            return None
        if away is not None:
            self._progress, self._fetches = Progress(now), StandingStill()
            self._runtime.give_up(f"{why}: {away}")
            return None
        event(log, "worker.stalled", logging.ERROR, lag_records=lag, why=why)
        return Stalled(why)

    def _brokers_away(self, fetcher: Fetcher, now: float) -> str | None:
        stuck_seconds = self._runtime.outbox.stuck_seconds(now)
        if stuck_seconds > AWAY_SECONDS:
            return f"brokers have taken none of what this worker writes for {stuck_seconds:.0f} s"
        if now - fetcher.unanswered_at <= STALLED_SECONDS:
            return "a broker that it reads from gives no answer"
        if now - self._runtime.positions.unanswered_at <= STALLED_SECONDS:
            return "a broker gives no answer about where reading begins"
        if now - self._without_coordinator_at <= STALLED_SECONDS:
            return "its group's coordinator is away"
        return None

    def _whole(self, lag: int, now: float) -> str | None:
        """Recovery is progress too: of a large table it takes longer than this patience."""
        done = self._runtime.handled_records + self._runtime.tables.recovered_entries
        seconds = self._progress.stalled_for(lag, done, now)
        return f"{lag} records wait and none was handled for {seconds:.0f} s" if seconds > STALLED_SECONDS else None

    def _call(self, now: float) -> str | None:
        call = self._runtime.longest_call()
        if call is None or now - call.started_seconds <= STALLED_SECONDS:
            return None
        where = f"{call.tp.topic}[{call.tp.partition}] from offset {call.first_offset}"
        return f"{call.agent} handles {call.records} records of {where} for {now - call.started_seconds:.0f} s"

    def _fetch(self, fetcher: Fetcher, now: float) -> str | None:
        longest = self._fetches.longest(fetcher.due_and_idle(), now)
        if longest is None or longest[1] <= STALLED_SECONDS:
            return None
        tp, seconds = longest
        behind = f"{fetcher.lag().get(tp, 0)} records of {tp.topic}[{tp.partition}]"
        why = fetcher.unreadable(tp) or "and nobody knows why"
        return f"{behind} wait at the broker and none came for {seconds:.0f} s: {why}"

    def _rebalance(self, now: float) -> str | None:
        since = self._runtime.consumer.unsettled_since
        if since is None:
            return None
        since = max(since, self._without_coordinator_at)  # before, there was nobody to end it
        if now - since <= STALLED_SECONDS:
            return None
        return f"a rebalance of the group {self._runtime.group} has not ended for {now - since:.0f} s"
