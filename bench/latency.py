"""`make bench-latency`: from the 202 to the first delivery's arrival at a workflow's endpoint, at a steady rate.

It starts a whole Atlas on free ports in a home of its own, on two processor cores, with one stream and one workflow;
half of the events have an Idempotency-Key, whose 202 comes after admission's verdict and so later on the same way. The
goal: p50 ≤ 30 ms and p99 ≤ 150 ms over all. A bare Kafka pair on the same broker says what the machine can do.
Figures are printed and kept in bench/results/latency.json. The exit code says whether the goal was met.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.baseline import round_trips
from bench.figures import ROW_HEAD, Figures, figures_of
from bench.hops import hops_of
from bench.receiver import Receiver, receiver
from bench.sender import Sent, send_steadily
from bench.system import System
from tests.support.ports import free_port_base

RESULTS = Path(__file__).parent / "results" / "latency.json"
STREAM, WORKFLOW = "orders-bench", "wf_bench"
GOAL_P50_MS, GOAL_P99_MS = 30.0, 150.0
WARM_UP_SECONDS = 3.0
BASELINE_SECONDS_MAX = 10.0
ARRIVE_SECONDS = 30.0
CORES = 2
BARE = "bare kafka: produce → consumed"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.latency", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=100.0, help="events a second (100)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long, after the warm-up (30)")
    asked = parser.parse_args()
    cores = keep_to_cores(CORES)
    load = os.getloadavg()[0]
    done = run(asked.rate, asked.seconds)
    sent, arrivals = done.sent, done.arrivals
    rows = rows_of(sent, arrivals) | done.hops | {BARE: figures_of(done.bare_ns)}
    lost = sum(1 for one in sent if one.status == 202 and one.event_id not in arrivals)
    refused = sum(one.status != 202 for one in sent)
    first, floor = rows["202 → first delivery"], rows[BARE]
    met = first.p50_ms <= GOAL_P50_MS and first.p99_ms <= GOAL_P99_MS and not lost and not refused
    report(rows, asked.rate, asked.seconds, cores, load)
    print(f"202 → first delivery is {first.p50_ms / floor.p50_ms:.1f} × the bare pair at p50")
    print(f"not accepted {refused}, not delivered {lost}")
    print(f"goal p50 ≤ {GOAL_P50_MS:g} ms, p99 ≤ {GOAL_P99_MS:g} ms: {'met' if met else 'MISSED'}")
    save(rows, {"rate": asked.rate, "seconds": asked.seconds, "cores": cores, "load_before": load, "met": met})
    return 0 if met else 1


@dataclass(frozen=True)
class Run:
    """What was sent after the warm-up, when each event arrived, where its time went, and the bare pair's times."""

    sent: list[Sent]
    arrivals: dict[str, int]
    hops: dict[str, Figures]
    bare_ns: list[int]


def run(rate: float, seconds: float) -> Run:
    with (
        tempfile.TemporaryDirectory(prefix="atlas-bench-") as home,
        receiver() as endpoint,
        System(Path(home), free_port_base(), {"ATLAS_RATE_LIMITS": "off"}) as atlas,
    ):
        surface = atlas.dev["events"]
        prepare(surface, endpoint)
        sent, arrivals = uvloop.run(measure(surface, endpoint, rate, seconds))
        hops = {f"  {name}": row for name, row in hops_of(atlas.dev["kafka"], sent, arrivals).items()}
        bare_ns = round_trips(atlas.dev["kafka"], rate, min(seconds, BASELINE_SECONDS_MAX))
    return Run(sent, arrivals, hops, bare_ns)


def keep_to_cores(count: int) -> int:
    """This process and all it starts run on so many cores; where the system can't do that, on all there are."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    chosen = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, chosen)
    return len(chosen)


def prepare(surface: Mapping[str, Any], endpoint: Receiver) -> None:
    """One stream whose events go to one workflow, the endpoint."""
    post(surface, "/v1/workflows", {"id": WORKFLOW, "name": "bench", "url": f"{endpoint.url}/hook"})
    post(surface, "/v1/event-streams", {"name": STREAM, "default_routes": [WORKFLOW]})


async def measure(
    surface: Mapping[str, Any], endpoint: Receiver, rate: float, seconds: float
) -> tuple[list[Sent], dict[str, int]]:
    """What was sent after the warm-up, and when each event arrived."""
    await send_steadily(surface, STREAM, rate, WARM_UP_SECONDS)
    sent = await send_steadily(surface, STREAM, rate, seconds)
    accepted = {one.event_id for one in sent if one.status == 202}
    deadline = time.monotonic() + ARRIVE_SECONDS
    arrivals = await asyncio.to_thread(endpoint.arrivals)
    while not accepted <= arrivals.keys() and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        arrivals = await asyncio.to_thread(endpoint.arrivals)
    return sent, arrivals


def rows_of(sent: Iterable[Sent], arrivals: Mapping[str, int]) -> dict[str, Figures]:
    """A delivery that overtakes the 202, as one with a key can, counts as negative: nothing is cut off."""
    done = [one for one in sent if one.status == 202 and one.event_id in arrivals]
    after = {one: arrivals[one.event_id] - one.answered_ns for one in done}
    return {
        "202 → first delivery": figures_of(list(after.values())),
        "  without a key": figures_of([after[one] for one in done if not one.keyed]),
        "  with a key": figures_of([after[one] for one in done if one.keyed]),
        "request → 202, without a key": figures_of([one.answered_ns - one.due_ns for one in done if not one.keyed]),
        "request → 202, with a key": figures_of([one.answered_ns - one.due_ns for one in done if one.keyed]),
        "request → first delivery": figures_of([arrivals[one.event_id] - one.due_ns for one in done]),
    }


def report(rows: Mapping[str, Figures], rate: float, seconds: float, cores: int, load: float) -> None:
    print(f"{rate:g} events/s for {seconds:g} s on {cores} cores (load before: {load:.2f})")
    width = max(map(len, rows))
    print(f"{'':<{width}} {ROW_HEAD}")
    for name, figures in rows.items():
        print(f"{name:<{width}} {figures.as_row()}")


def save(rows: Mapping[str, Figures], run: Mapping[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    figures = {name.strip(): row.as_json() for name, row in rows.items()}
    RESULTS.write_text(json.dumps({"at": at, **run, "figures": figures}, indent=2, ensure_ascii=False) + "\n")


def post(surface: Mapping[str, Any], path: str, body: Mapping[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {surface['live_key']}", "Content-Type": "application/json"}
    request = urllib.request.Request(surface["url"] + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


if __name__ == "__main__":
    sys.exit(main())
