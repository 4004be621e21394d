"""A verdict's whole way, as the gateway goes it: append with a reply header, decided, back on `verdicts`, resolved.

Measured with the gateway's own producer and waiter, on a schedule that waits for no answer: a late start counts.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.admission.filling import signed_event
from bench.admission.world import World, running
from bench.figures import ROW_HEAD, Figures, figures_of
from ingest_gateway.log.event_log import EventLog
from ingest_gateway.log.verdicts import VerdictLate, VerdictWaiter
from schemas.replies import REPLY_HEADER
from tests.support.streams import LiveStream

GOALS_MS = {100: (6.0, 20.0), 1_000: (12.0, 40.0), 5_000: None}
"""By requests a second: p50 and p99; None is measured and has no goal."""
WARM_SECONDS = 2.0
LATE_SECONDS = 10.0
TICK_SECONDS = 0.001


def latency(world: World, directory: Path, seconds: float) -> dict[str, Any]:
    stream = world.stream("asked")
    with running(world.worker(directory / "worker")) as worker:
        worker.wait_until_ready()
        rows = {rate: uvloop.run(round_trips(world, stream, rate, seconds)) for rate in GOALS_MS}
    return {
        "rates": {str(rate): row for rate, row in rows.items()},
        "met": all(row["met"] for row in rows.values()),
    }


async def round_trips(world: World, stream: LiveStream, rate: int, seconds: float) -> dict[str, Any]:
    events, verdicts = EventLog(world.kafka), VerdictWaiter(world.kafka, max_waiters=100_000)
    events.start()
    verdicts.start()
    await verdicts.positioned()
    try:
        await send(events, verdicts, stream, world, rate, WARM_SECONDS)
        times_ns = await send(events, verdicts, stream, world, rate, seconds)
    finally:
        await asyncio.gather(events.close(5.0), verdicts.stop())
    answered = [one for one in times_ns if one is not None]
    figures = figures_of(answered)
    goal = GOALS_MS[rate]
    met = len(answered) == len(times_ns) and (goal is None or (figures.p50_ms <= goal[0] and figures.p99_ms <= goal[1]))
    return {**figures.as_json(), "unanswered": len(times_ns) - len(answered), "met": met}


async def send(
    events: EventLog, verdicts: VerdictWaiter, stream: LiveStream, world: World, rate: int, seconds: float
) -> list[int | None]:
    """Nanoseconds from when each was due until its verdict was there; None where there was none in time. What is sent
    is made before, so that the sender is not what is measured.
    """
    signer, run = world.signer(), time.monotonic_ns()
    made = [signed_event(stream, signer, f"{run}-{number}", keyed=True) for number in range(round(rate * seconds))]

    async def one(number: int, due_ns: int) -> int | None:
        event = made[number]
        with verdicts.expect() as expected:
            headers = [event.headers[0], (REPLY_HEADER, expected.reply.encode())]
            appended = events.append(stream.name, event.key, event.value, headers)
            try:
                verdict = await expected.verdict(LATE_SECONDS)
                await appended
            except VerdictLate:
                return None
        assert verdict.outcome == "admitted"
        return time.monotonic_ns() - due_ns

    interval_ns = round(1e9 / rate)
    first_ns = time.monotonic_ns() + interval_ns
    async with asyncio.TaskGroup() as group:
        tasks = []
        while len(tasks) < len(made):
            due_ns = first_ns + len(tasks) * interval_ns
            if (left_ns := due_ns - time.monotonic_ns()) > 0:
                await asyncio.sleep(max(TICK_SECONDS, left_ns / 1e9))
            else:
                tasks.append(group.create_task(one(len(tasks), due_ns)))
    return [task.result() for task in tasks]


def lines(found: dict[str, Any]) -> list[str]:
    rows = [f"{'append → verdict, requests/s':<30} {ROW_HEAD}"]
    for rate, row in found["rates"].items():
        figures = Figures(**{name: row[name] for name in Figures.__dataclass_fields__})
        goal = GOALS_MS[int(rate)]
        said = "" if goal is None else f"  goal p50 ≤ {goal[0]:g}, p99 ≤ {goal[1]:g}"
        late = f"  {row['unanswered']} unanswered" if row["unanswered"] else ""
        rows.append(f"{rate:<30} {figures.as_row()}{said}{late}")
    return rows
