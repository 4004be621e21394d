"""`make bench-work`: from a task's POST to its 201, the control process's verdict included, at a steady rate.

A broker, the control and the projection process and a gateway process start on free ports in a home of their own, on
two processor cores. The goal: p50 ≤ 15 ms at 100 tasks a second. Beside it, on the same broker, a bare pair: one record
produced (acks=all) and consumed. Every change is an event, an audit record and a row; all of it is under way meanwhile.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp
import orjson
import uvloop

from bench.baseline import round_trips
from bench.cpu_meter import CpuMeter
from bench.figures import ROW_HEAD, Figures, figures_of
from bench.latency import keep_to_cores
from bench.work_hops import Posted, hops_of
from ingest_gateway.log.bootstrap import create_workspace
from ingest_gateway.log.first_project import ensure_project
from operations.random_ids import short_id
from operations.settings import Settings
from schemas.ids import WORKSPACE
from tests.support.gateway_process import GatewayProcess
from tests.support.ports import free_port
from tests.support.work_installation import an_installation

GOAL_P50_MS = 15.0
CORES = 2
WARM_UP_SECONDS = 3.0
BARE_SECONDS_MAX = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.work", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=100.0, help="tasks a second (100)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long, after the warm-up (20)")
    asked = parser.parse_args()
    keep_to_cores(CORES)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="atlas-bench-work-") as home:
        measured = run(Path(home), asked.rate, asked.seconds)
    created, bare, refused = figures_of(measured.times_ns), figures_of(measured.bare_ns), measured.refused
    print(f"{asked.rate:g} tasks a second for {asked.seconds:g} s on {CORES} cores; load before: {load:.1f}")
    print(f"{'':32}{ROW_HEAD}")
    print(f"{'POST /v1/tasks → 201':32}{created.as_row()}")
    for name, hop in measured.hops.items():
        print(f"{name:32}{hop.as_row()}")
    print(f"{'bare kafka: produce → consumed':32}{bare.as_row()}")
    print(
        "hundredths of a core: " + ", ".join(f"{name} {100 * used:.0f}" for name, used in measured.cores_used.items())
    )
    met = created.p50_ms <= GOAL_P50_MS and not refused
    print(f"creating a task is {created.p50_ms / bare.p50_ms:.1f} × the bare pair at p50; not created: {refused}")
    print(f"goal p50 ≤ {GOAL_P50_MS:g} ms: {'met' if met else 'MISSED'}")
    return 0 if met else 1


class Measured(NamedTuple):
    """Of each POST after the warm-up, a refused one's too; how many were refused; of each record of the bare pair;
    and how much of a core each process used."""

    times_ns: list[int]
    refused: int
    hops: dict[str, Figures]
    bare_ns: list[int]
    cores_used: dict[str, float]


def run(home: Path, rate: float, seconds: float) -> Measured:
    with an_installation(home, ("control", "projection")) as installation:
        port = free_port()
        gateway = GatewayProcess(installation.broker.bootstrap, home)
        work = {"ATLAS_SURFACES": "work", "ATLAS_WORK_PORT": str(port)}
        gateway.set(**installation.environment, **work, ATLAS_RATE_LIMITS="off", ATLAS_LOG_LEVEL="WARNING")
        gateway.start_until_ready()
        try:
            settings = Settings.from_env(installation.environment)
            workspace = short_id(WORKSPACE)
            token = create_workspace(settings, workspace, "Bench")["pat_key"]
            project_id = ensure_project(settings, workspace)
            url = f"http://127.0.0.1:{port}/v1/tasks"
            meter = CpuMeter({"client": os.getpid(), "gateway": gateway.pid, **installation.pids()})
            posted, refused_ns = uvloop.run(post_steadily(url, token, project_id, rate, seconds))
            used = meter.cores_used()
            bare_ns = round_trips(installation.broker.bootstrap, rate, min(seconds, BARE_SECONDS_MAX))
        finally:
            gateway.kill()
        times_ns = [one.answered_ns - one.due_ns for one in posted] + refused_ns
        return Measured(times_ns, len(refused_ns), hops_of(installation.broker.bootstrap, posted), bare_ns, used)


async def post_steadily(
    url: str, token: str, project_id: str, rate: float, seconds: float
) -> tuple[list[Posted], list[int]]:
    """Each at its time, however long the others take; and the nanoseconds of those that were refused. A request's time
    begins when it was due, so a late start counts.
    """
    posted: list[Posted] = []
    refused_ns: list[int] = []
    body = {"projectId": project_id, "title": "Review Q3 forecast", "priority": "HIGH"}
    headers = {"Authorization": f"Bearer {token}"}

    async def post(session: aiohttp.ClientSession, due_ns: int, counts: bool) -> None:
        async with session.post(url, json=body, headers=headers) as answer:
            made = await answer.read()
        if counts and answer.status == 201:
            posted.append(Posted(due_ns, time.time_ns(), orjson.loads(made)["id"]))
        elif counts:
            refused_ns.append(time.time_ns() - due_ns)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as posts:
        first_ns = time.time_ns()
        for number in range(int(rate * (WARM_UP_SECONDS + seconds))):
            due_ns = first_ns + round(number / rate * 1e9)
            await asyncio.sleep(max(0.0, (due_ns - time.time_ns()) / 1e9))
            posts.create_task(post(session, due_ns, number >= rate * WARM_UP_SECONDS))
    return posted, refused_ns


if __name__ == "__main__":
    sys.exit(main())
