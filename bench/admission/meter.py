"""How fast a worker works: records and its own CPU time between two looks at it, start-up left out.

A second of CPU time is a core's second whatever else the machine does, so that figure says more than the clock's.
"""

import time
from dataclasses import dataclass
from typing import Any

from bench.admission.world import TookTooLong, cpu_seconds
from tests.support.worker import Worker

LOOK_EVERY_SECONDS = 0.25
WARM_SHARE = 0.1


@dataclass(frozen=True)
class Speed:
    """Of `events`; the CPU time is that of the whole process, its libraries' threads included."""

    events: int
    seconds: float
    cpu_seconds: float

    @property
    def a_second(self) -> int:
        return round(self.events / self.seconds)

    @property
    def a_core(self) -> int:
        """Events in a second of CPU time."""
        return round(self.events / self.cpu_seconds)

    def as_json(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "seconds": round(self.seconds, 2),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "events_a_second": self.a_second,
            "events_a_core_second": self.a_core,
            "cpu_microseconds_an_event": round(self.cpu_seconds / self.events * 1e6, 1),
        }


@dataclass(frozen=True)
class Look:
    at_seconds: float
    cpu_seconds: float
    records: float


def look(worker: Worker) -> Look:
    """Before the metrics answer there are no records."""
    try:
        records = worker.metric("atlas_records_total")
    except OSError:
        records = 0.0
    return Look(time.monotonic(), cpu_seconds(worker.pid), records)


def speed_of(worker: Worker, count: int, limit_seconds: float) -> Speed:
    """Of a worker that has `count` records before it: from the first look after a tenth of them to the last one
    before, or at, the end. Raises TookTooLong.
    """
    deadline = time.monotonic() + limit_seconds
    looks: list[Look] = []
    while not looks or looks[-1].records < count:
        if time.monotonic() > deadline or not worker.runs:
            done = looks[-1].records if looks else 0
            raise TookTooLong(f"{done:.0f} of {count} records within {limit_seconds:g} s")
        time.sleep(LOOK_EVERY_SECONDS)
        looks.append(look(worker))
    return between([one for one in looks if one.records >= WARM_SHARE * count])


def between(looks: list[Look]) -> Speed:
    """The last look comes up to a quarter of a second after the end; it counts only where there is no other."""
    first, last = looks[0], looks[-2] if len(looks) > 2 else looks[-1]
    return Speed(
        round(last.records - first.records),
        last.at_seconds - first.at_seconds,
        last.cpu_seconds - first.cpu_seconds,
    )
