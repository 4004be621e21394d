"""A worker with due work and no progress for 60 s exits and is started again: no stalled consumer looks healthy
(F30). One whose fetcher failed exits at once.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from operations.logs import event
from processors.runtime import metrics
from processors.runtime.lease import LeaseLost

if TYPE_CHECKING:
    from processors.runtime.runtime import Runtime

log = logging.getLogger(__name__)
STALLED_SECONDS = 60.0
LOOK_EVERY_SECONDS = 1.0


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


class Watchdog:
    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        self._progress = Progress(time.monotonic())

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            fetcher = self._runtime.consumer.fetcher
            if fetcher is None:
                continue
            if fetcher.failure is not None:
                self._runtime.fail(fetcher.failure)
                return
            left = self._runtime.consumer.lease.seconds_left(time.monotonic())
            if fetcher.assigned() and left < 0:
                self._runtime.fail(LeaseLost(f"no heartbeat was answered for {-left:.1f} s longer than the session"))
                return
            lags = fetcher.lag()
            metrics.LAG_RECORDS.labels(self._runtime.group).set(sum(lags.values()))
            lag = sum(records for tp, records in lags.items() if tp.topic not in self._runtime.unwatched)
            seconds = self._progress.stalled_for(lag, self._runtime.handled_records, time.monotonic())
            if seconds > STALLED_SECONDS:
                event(log, "worker.stalled", logging.ERROR, lag_records=lag, seconds=round(seconds))
                self._runtime.fail(Stalled(f"{lag} records wait and none was handled for {seconds:.0f} s"))
                return
