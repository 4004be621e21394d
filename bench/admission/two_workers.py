"""Two workers against one over the same backlog, partitions spread by the group."""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.admission.filling import signed_events, write
from bench.admission.meter import Look, Speed, look
from bench.admission.world import TookTooLong, World, running
from tests.support.worker import Worker

GOAL = 1.7
CORES_FOR_GOAL = 4  # two for the workers, the rest for the broker
LOOK_EVERY_SECONDS = 0.25
LIMIT_SECONDS = 120.0
SETTLED_SECONDS = 2.0


def two_workers(world: World, directory: Path, events: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, count in (("one", 1), ("two", 2)):
        stream = world.stream(f"backlog-{name}")
        made = list(signed_events(stream, world.signer(), events, keyed=True))
        with ExitStack() as stack:
            workers = [
                stack.enter_context(running(world.worker(directory / f"{name}-{number}"))) for number in range(count)
            ]
            for worker in workers:
                worker.wait_until_ready()
            time.sleep(SETTLED_SECONDS)
            before = [look(worker) for worker in workers]
            write(stream, made)
            found[name] = drained(workers, before, events).as_json()
            for worker in workers:
                worker.stop()
    by_clock = found["two"]["events_a_second"] / found["one"]["events_a_second"]
    by_core = found["two"]["events_a_core_second"] / found["one"]["events_a_core_second"]
    cores = os.cpu_count() or 1
    allowed = cores >= CORES_FOR_GOAL
    return found | {
        "times": round(by_clock, 2),
        "cost_share": round(by_core, 2),
        "cores": cores,
        "met": by_clock >= GOAL if allowed else 2 * by_core >= GOAL,
    }


def drained(workers: list[Worker], before: list[Look], events: int) -> Speed:
    """All of them together, from the first record's writing to the last one's decision."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        now = [look(worker) for worker in workers]
        done = sum(after.records - first.records for after, first in zip(now, before, strict=True))
        if done >= events:
            cpu = sum(after.cpu_seconds - first.cpu_seconds for after, first in zip(now, before, strict=True))
            return Speed(round(done), now[0].at_seconds - before[0].at_seconds, cpu)
        if time.monotonic() > deadline:
            raise TookTooLong(f"{done:.0f} of {events} events within {LIMIT_SECONDS:g} s")
        time.sleep(LOOK_EVERY_SECONDS)


def lines(found: dict[str, Any]) -> list[str]:
    rows = [f"{'workers':<10}{'events/s':>10}{'a core':>10}{'µs CPU':>9}"]
    for name in ("one", "two"):
        one = found[name]
        rows.append(
            f"{name:<10}{one['events_a_second']:>10}{one['events_a_core_second']:>10}"
            f"{one['cpu_microseconds_an_event']:>9}"
        )
    rows.append(
        f"two are {found['times']} × one by the clock; an event costs each {found['cost_share']} of a core's speed"
    )
    if found["cores"] < CORES_FOR_GOAL:
        rows.append(
            f"the goal of {GOAL} × needs {CORES_FOR_GOAL} cores, here are {found['cores']}, broker included: held "
            f"against what two cores of their own would do ({2 * found['cost_share']:.2f} ×)"
        )
    return rows
