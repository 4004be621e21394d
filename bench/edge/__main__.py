"""`make bench-edge`: the edge proxy beside a direct call to the same provider, and LiteLLM's proxy beside both.

1. what the proxy adds to a call at 200 a second, direct and proxied calls in turn, so that both meet the same machine;
2. calls a second of the gateway's own processor time, as fast as 32 callers go;
3. memory of 500 open streams;
4. 256 calls at once on a strict budget that fits 100: how many go upstream;
5. LiteLLM's proxy under 1 (at a rate that it can carry, beside ours at the same), 2 and 4 (a provider's budget and a
   key's).
Figures are printed and kept in bench/results/edge.json.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import psutil
import uvloop

from bench.edge import litellm_peer, load
from bench.edge.stub import COST_NANO
from bench.edge.world import World, world
from bench.figures import ROW_HEAD, Figures, figures_of

RESULTS = Path(__file__).parents[1] / "results" / "edge.json"
GOAL_P50_MS, GOAL_P99_MS = 2.0, 10.0
GOAL_A_CORE = 1_500.0
GOAL_STREAMS_MIB = 100.0
MIB = 1024 * 1024
RATE, SLOW_RATE = 200.0, 20.0
CALLS_AT_ONCE, FIT = 256, 100
STREAMS = 500


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.edge", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0, help="of each run at a steady rate (15)")
    parser.add_argument("--calls", type=int, default=8_000, help="of the run as fast as it goes (8000)")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="ours alone")
    asked = parser.parse_args()
    peer = litellm_peer.installed() if asked.peer else None
    found: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory, world(Path(directory)) as running:
        print(f"on {os.cpu_count()} cores, load before: {found['load_before']:.2f}", flush=True)
        found["latency"] = latency(running, asked.seconds)
        found["a_core"] = a_core(running, asked.calls)
        found["streams"] = streams(running)
        found["strict"] = strict(running)
        if peer is not None:
            found["litellm"] = beside_litellm(running, peer, Path(directory), asked.seconds, asked.calls)
    found["load_after"] = os.getloadavg()[0]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def latency(running: World, seconds: float) -> dict[str, Any]:
    async def measure() -> list[list[int]]:
        async with load.client() as session:
            return await load.steadily(session, [running.direct, running.proxied], RATE, seconds)

    direct, proxied = map(figures_of, run(measure()))
    print(f"{'':<24}{ROW_HEAD}")
    return _compared(direct, {"edge": proxied}) | {"rate": RATE}


def _compared(direct: Figures, others: dict[str, Figures]) -> dict[str, Any]:
    print(f"{'direct':<24}{direct.as_row()}")
    found: dict[str, Any] = {"direct": direct.as_json()}
    for name, figures in others.items():
        p50, p99 = figures.p50_ms - direct.p50_ms, figures.p99_ms - direct.p99_ms
        print(f"{name:<24}{figures.as_row()}")
        met = "met" if p50 <= GOAL_P50_MS and p99 <= GOAL_P99_MS else "missed"
        print(
            f"{name} adds p50 {p50:.2f} ms, p99 {p99:.2f} ms (goal {GOAL_P50_MS:g} and {GOAL_P99_MS:g}: {met})",
            flush=True,
        )
        found[name] = figures.as_json() | {"adds_p50_ms": p50, "adds_p99_ms": p99}
    return found


def a_core(running: World, count: int) -> dict[str, Any]:
    rate, wall = _of_a_core(running.gateway, running.proxied, count)
    met = "met" if rate >= GOAL_A_CORE else "missed"
    print(
        f"edge: {rate:,.0f} calls a second of a core, {wall:,.0f} a second (goal {GOAL_A_CORE:,.0f} a core: {met})",
        flush=True,
    )
    return {"a_core": rate, "a_second": wall}


def _of_a_core(process: psutil.Process, way: load.Way, count: int) -> tuple[float, float]:
    """Calls a second of the process's own processor time, and of the clock."""

    async def measure() -> tuple[float, float]:
        async with load.client() as session:
            await load.as_fast_as_it_goes(session, way, max(100, count // 20), 32)
            before = process.cpu_times()
            seconds = await load.as_fast_as_it_goes(session, way, count, 32)
            after = process.cpu_times()
            return after.user + after.system - before.user - before.system, seconds

    used_seconds, seconds = run(measure())
    return count / used_seconds, count / seconds


def streams(running: World) -> dict[str, Any]:
    async def measure() -> float:
        async with load.client() as session:
            before = running.gateway.memory_info().rss
            async with load.open_streams(session, running.proxied, STREAMS):
                return (running.gateway.memory_info().rss - before) / MIB

    mib = run(measure())
    met = "met" if mib <= GOAL_STREAMS_MIB else "missed"
    print(f"edge: {STREAMS} open streams cost {mib:.1f} MiB (goal {GOAL_STREAMS_MIB:g}: {met})", flush=True)
    return {"streams": STREAMS, "mib": mib}


def strict(running: World) -> dict[str, Any]:
    """The provider takes half a second, so that all are under way before the first has ended."""
    running.set_policy(
        budget_mode="strict", financial_limits={"caps": [{"period": "month", "hard_usd": _room(running)}]}
    )
    running.forget_calls()

    async def measure() -> Any:
        async with load.client() as session:
            return await load.all_at_once(session, running.proxied, CALLS_AT_ONCE, 500)

    before_usd = running.status()["spend"]["month_usd"]
    first = run(measure())
    upstream = running.upstream_calls()
    spent_usd = _settled_usd(running) - before_usd
    again = run(measure())
    in_all = running.upstream_calls()
    running.set_policy()
    print(
        f"edge: {CALLS_AT_ONCE} at once on a strict budget for {FIT}: {upstream} upstream, over by {upstream - FIT}; "
        f"{dict(first)}; {CALLS_AT_ONCE} once more: {in_all} in all; {dict(again)}\n"
        f"      spent {upstream * COST_NANO / 1e9:.6f} USD; it says: {spent_usd:.6f}",
        flush=True,
    )
    statuses = {"statuses": dict(first), "again": dict(again)}
    return {"upstream": upstream, "over": upstream - FIT, "in_all": in_all, "says_usd": spent_usd, **statuses}


def _room(running: World) -> float:
    """What was spent this month, and so many calls more, and half a call."""
    return _settled_usd(running) + (FIT + 0.5) * COST_NANO / 1e9


def _settled_usd(running: World) -> float:
    """This month's, once it changes no more."""
    deadline = time.monotonic() + 30
    spent = -1.0
    while (now := running.status()["spend"]["month_usd"]) != spent and time.monotonic() < deadline:
        spent = now
        time.sleep(1.0)
    return float(spent)


def beside_litellm(running: World, python: Path, directory: Path, seconds: float, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with litellm_peer.proxy(python, directory, running.stub) as peer:

        async def measure() -> list[list[int]]:
            async with load.client() as session:
                return await load.steadily(session, [running.direct, running.proxied, peer.way], SLOW_RATE, seconds)

        direct, ours, theirs = map(figures_of, run(measure()))
        print(f"{'at ' + format(SLOW_RATE, 'g') + ' a second each':<24}{ROW_HEAD}")
        found["latency"] = _compared(direct, {"edge": ours, "litellm": theirs}) | {"rate": SLOW_RATE}
        rate, wall = _of_a_core(peer.process, peer.way, max(200, count // 10))
        print(f"litellm: {rate:,.0f} calls a second of a core, {wall:,.0f} a second", flush=True)
        found |= {"a_core": rate, "a_second": wall}
    for budget in litellm_peer.Budget:
        with litellm_peer.proxy(python, directory, running.stub, budget, (FIT + 0.5) * COST_NANO / 1e9) as peer:
            found[f"{budget}_budget"] = _rush(running, peer.way, budget)
    return found


def _rush(running: World, way: load.Way, budget: str) -> dict[str, Any]:
    """As `strict` does it, and once more when all has settled; then it says itself what it has counted."""
    running.forget_calls()

    async def wave() -> Any:
        async with load.client() as session:
            return await load.all_at_once(session, way, CALLS_AT_ONCE, 500)

    async def asked() -> str:
        async with load.client() as session, session.post(way.url, json=load.small_body(), headers=way.headers) as one:
            return f"{one.status} {await one.text()}"

    first = run(wave())
    at_first = running.upstream_calls()
    time.sleep(3)
    again = run(wave())
    time.sleep(3)
    upstream = running.upstream_calls()
    last = run(asked())
    print(
        f"litellm: {CALLS_AT_ONCE} at once on a {budget}'s budget for {FIT}: {at_first} upstream, over by "
        f"{at_first - FIT}; {dict(first)}; {CALLS_AT_ONCE} once more: {upstream} in all; {dict(again)}\n"
        f"         spent {upstream * COST_NANO / 1e9:.6f} USD; it says: {last[:300]}",
        flush=True,
    )
    statuses = {"statuses": dict(first), "again": dict(again)}
    return {"upstream": at_first, "over": at_first - FIT, "in_all": upstream, "says": last, **statuses}


if __name__ == "__main__":
    sys.exit(main())
