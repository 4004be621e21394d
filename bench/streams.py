"""`make bench-streams`: keyed events of one workspace while another's streams are created, before and after a change.

Each round starts a whole Atlas, of the older commit (BASE) and of this tree in turn, with the same interpreter, on free
ports in a home of its own, on two processor cores. First nothing but the events, then streams created one after the
other beside them. The goal: p99 ≤ 150 ms from a keyed event's request to its 202, while streams are created. The older
commit is unpacked into a temporary directory; nothing is written here.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from bench.figures import ROW_HEAD, figures_of
from bench.latency import keep_to_cores, post
from bench.sender import Sent, an_order, send_keyed
from bench.system import ROOT, System
from tests.support.ports import free_port_base

BASE = "4d545af"  # the last commit at which following a stream was a rebalance of the group
STREAM = "orders-bench"
GOAL_P99_MS = 150.0
CORES = 2
WARM_UP_SECONDS = 3.0
APART_SECONDS = 0.2
JARS = Path("deploy", "kafka", "jars")


@dataclass(frozen=True)
class Measured:
    quiet: list[Sent]
    creating: list[Sent]
    created_ns: list[int]
    """Of each stream from its POST to the 201."""
    first_ns: list[int]
    """Of each stream from its first keyed event's request, sent upon the 201, to the 202."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.streams", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", default=BASE, help=f"the older commit ({BASE})")
    parser.add_argument("--rate", type=float, default=50.0, help="keyed events a second (50)")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long, without and with creations each (12)")
    parser.add_argument("--rounds", type=int, default=2, help="of each commit (2)")
    asked = parser.parse_args()
    keep_to_cores(CORES)
    load = os.getloadavg()[0]
    print(f"{asked.rate:g} keyed events/s; {asked.rounds} rounds of 2 × {asked.seconds:g} s; load before: {load:.1f}")
    with tempfile.TemporaryDirectory(prefix="atlas-bench-base-") as base:
        unpack(asked.base, Path(base))
        trees = {f"before ({asked.base})": Path(base), "after": ROOT}
        rounds = {name: [run(tree, asked.rate, asked.seconds)] for name, tree in trees.items()}
        for _ in range(asked.rounds - 1):
            for name, tree in trees.items():
                rounds[name].append(run(tree, asked.rate, asked.seconds))
    print(f"{'':<60} {ROW_HEAD}")
    return max([report(name, measured) for name, measured in rounds.items()][1:])


def report(name: str, rounds: list[Measured]) -> int:
    """Prints all rounds of one tree together, and each one's p99; 0 where the goal is met."""
    quiet = [one for measured in rounds for one in measured.quiet]
    creating = [one for measured in rounds for one in measured.creating]
    rows = {
        "keyed events, no stream created": times_of(quiet),
        "keyed events while streams are created": times_of(creating),
        "POST of a stream → 201": [took for measured in rounds for took in measured.created_ns],
        "201 → a first keyed event's 202": [took for measured in rounds for took in measured.first_ns],
    }
    for what, times_ns in rows.items():
        print(f"{f'{name}: {what}':<60} {figures_of(times_ns).as_row()}")
    each = ", ".join(f"{figures_of(times_of(measured.creating)).p99_ms:.0f}" for measured in rounds)
    refused = sum(one.status != 202 for one in [*quiet, *creating])
    met = figures_of(times_of(creating)).p99_ms <= GOAL_P99_MS and not refused
    verdict = "met" if met else "MISSED"
    print(f"  p99 of each round: {each} ms; not accepted: {refused}; goal ≤ {GOAL_P99_MS:g} ms: {verdict}")
    return 0 if met else 1


def times_of(sent: list[Sent]) -> list[int]:
    return [one.answered_ns - one.due_ns for one in sent]


def unpack(commit: str, tree: Path) -> None:
    """Into an empty directory, with the broker's jars that are here already."""
    archive = subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(tree)], stdin=archive.stdout, check=True)
    if archive.wait() != 0:
        raise SystemExit(f"there is no commit {commit} here")
    shutil.copytree(ROOT / JARS, tree / JARS, copy_function=link_or_copy, dirs_exist_ok=True)


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def run(tree: Path, rate: float, seconds: float) -> Measured:
    with (
        tempfile.TemporaryDirectory(prefix="atlas-bench-") as home,
        System(Path(home), free_port_base(), root=tree) as atlas,
    ):
        surface = atlas.dev["events"]
        post(surface, "/v1/event-streams", {"name": STREAM})
        other = surface | {"live_key": a_workspace(tree, atlas)}
        return uvloop.run(measure(surface, other, rate, seconds))


def a_workspace(tree: Path, atlas: System) -> str:
    """Another one's live key."""
    env = {**os.environ, "PYTHONPATH": str(tree), "ATLAS_HOME": str(atlas.home), "ATLAS_KAFKA": atlas.dev["kafka"]}
    command = [sys.executable, "-m", "cli.main", "workspace", "create", "--name", "creates streams"]
    made = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=True)
    key: str = json.loads(made.stdout)["live_key"]
    return key


async def measure(surface: Mapping[str, Any], other: Mapping[str, Any], rate: float, seconds: float) -> Measured:
    await send_keyed(surface, STREAM, rate, WARM_UP_SECONDS)
    quiet = await send_keyed(surface, STREAM, rate, seconds)
    creating = asyncio.create_task(create_streams(other, seconds))
    sent = await send_keyed(surface, STREAM, rate, seconds)
    return Measured(quiet, sent, *await creating)


async def create_streams(surface: Mapping[str, Any], seconds: float) -> tuple[list[int], list[int]]:
    """One after the other, each with its first event."""
    headers = {"Authorization": f"Bearer {surface['live_key']}", "Content-Type": "application/json"}
    until, created_ns, first_ns = time.monotonic() + seconds, [], []
    async with aiohttp.ClientSession(surface["url"], headers=headers) as session:
        while time.monotonic() < until:
            name = f"new-{uuid.uuid4().hex[:12]}"
            began_ns = time.monotonic_ns()
            async with session.post("/v1/event-streams", json={"name": name}) as answer:
                assert answer.status == 201, await answer.text()
            created_ns.append(time.monotonic_ns() - began_ns)
            began_ns, key = time.monotonic_ns(), {"Idempotency-Key": name}
            async with session.post("/v1/events", data=an_order(name, 0), headers=key) as answer:
                assert answer.status == 202, await answer.text()
            first_ns.append(time.monotonic_ns() - began_ns)
            await asyncio.sleep(APART_SECONDS)
    return created_ns, first_ns


if __name__ == "__main__":
    sys.exit(main())
