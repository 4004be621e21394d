"""A whole installation: how soon a flag is in another gateway's view, and what ingest costs its processes."""

import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from bench.baseline import round_trips
from bench.figures import ROW_HEAD, figures_of
from bench.system import System
from operations.control_reader import ControlReader
from schemas.control_view import ControlView
from schemas.entities import KillFlag, State
from schemas.times import rfc3339
from tests.support.ports import free_port_base

ROUNDS, WARM_UP = 200, 10
BATCHES, BATCH, AT_ONCE = 120, 500, 4
GOAL_MS = 150.0
FLAG_SECONDS_MAX = 10.0


def live() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as home:
        env = {"ATLAS_SURFACES": "burn", "ATLAS_RATE_LIMITS": "off"}
        with System(Path(home), free_port_base(), env) as atlas:
            flags, trips = asyncio.run(_flags(atlas.dev))
            spent = asyncio.run(_ingest(atlas))
            bare = figures_of(round_trips(atlas.dev["kafka"], 20, 10))
    found = figures_of(flags[WARM_UP:])
    print(f"{'live, load ' + format(os.getloadavg()[0], '.2f'):<44}{ROW_HEAD}")
    print(f"{'ingest of the 4th call → flag elsewhere':<44}{found.as_row()}")
    print(f"{'ingest of the 4th call → its answer':<44}{figures_of(trips[WARM_UP:]).as_row()}")
    print(f"{'bare kafka: produce → consumed':<44}{bare.as_row()}")
    print(f"goal p99 ≤ {GOAL_MS:.0f} ms: {'met' if found.p99_ms <= GOAL_MS else 'missed'}")
    for name, us in spent.items():
        print(f"{name:<12}{us:7.2f} µs of processor time a call, {1e6 / us:,.0f} calls a core")
    return {"flag": found.as_json(), "bare": bare.as_json(), "processor_us": spent}


class Watch:
    """Another gateway's view of `control`, and when each flag came into it."""

    def __init__(self, kafka: str) -> None:
        self.reader = ControlReader(kafka, ControlView())
        self.reader.view.on_change(self._changed)
        self.came = asyncio.Event()
        self.at_ns = 0

    def _changed(self, _before: State | None, after: State | None) -> None:
        if isinstance(after, KillFlag):
            self.at_ns = time.monotonic_ns()
            self.came.set()


async def _flags(dev: dict[str, Any]) -> tuple[list[int], list[int]]:
    watch = Watch(dev["kafka"])
    watch.reader.start()
    await watch.reader.caught_up()
    burn, flags, answers = dev["burn"], [], []
    async with aiohttp.ClientSession(headers={"AtlasBurn-API-Key": burn["key"]}) as session:
        await _put_policy(session, burn["url"])
        for number in range(ROUNDS + WARM_UP):
            event = _event(f"sha256:{number:064x}")
            await _post(session, burn["url"], [event] * 3)
            watch.came.clear()
            sent_ns = time.monotonic_ns()
            told = await _post(session, burn["url"], [event])
            answers.append(time.monotonic_ns() - sent_ns)
            assert told["guardrail_status"] == "suspended", told
            async with asyncio.timeout(FLAG_SECONDS_MAX):
                await watch.came.wait()
            flags.append(watch.at_ns - sent_ns)
            body = {"org_id": burn["org_id"], "reason": "again"}
            async with session.delete(burn["url"] + "/api/guardrails/enforce", json=body) as answer:
                assert answer.status == 200, await answer.text()
    await watch.reader.stop()
    return flags, answers


async def _ingest(atlas: System) -> dict[str, float]:
    """Microseconds of processor time a call, of the gateway and of control."""
    burn = atlas.dev["burn"]
    processes = _processes(atlas.pid)
    async with aiohttp.ClientSession(headers={"AtlasBurn-API-Key": burn["key"]}) as session:
        before = {name: _cpu_seconds(process) for name, process in processes.items()}
        bodies = iter([[_event(f"sha256:{b * BATCH + n:064x}") for n in range(BATCH)] for b in range(BATCHES)])

        async def send() -> None:
            for body in bodies:
                await _post(session, burn["url"], body)

        await asyncio.gather(*(send() for _ in range(AT_ONCE)))
        after = {name: _cpu_seconds(process) for name, process in processes.items()}
    return {name: (after[name] - before[name]) / (BATCHES * BATCH) * 1e6 for name in processes}


async def _put_policy(session: aiohttp.ClientSession, url: str) -> None:
    """What is sent here is a burst."""
    async with session.put(url + "/api/guardrails/policy", json={"burst": {"mode": "off"}}) as answer:
        assert answer.status == 200, await answer.text()


def _processes(pid: int) -> dict[str, psutil.Process]:
    found = {}
    for child in psutil.Process(pid).children(recursive=True):
        words = child.cmdline()
        if "ingest_gateway" in words:
            found["gateway"] = child
        elif words[-2:] == ["processors", "control"]:
            found["control"] = child
    return found


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _event(fingerprint: str) -> dict[str, Any]:
    return {
        "ts": rfc3339(time.time_ns() // 1_000_000),
        "provider": "openai",
        "model": "gpt-4o-mini",
        "endpoint": "/chat/completions",
        "status": 200,
        "tokens_in": 142,
        "tokens_out": 318,
        "cost_usd": 0.000421,
        "latency_ms": 612,
        "fingerprint": fingerprint,
        "stream": False,
    }


async def _post(session: aiohttp.ClientSession, url: str, events: list[dict[str, Any]]) -> Any:
    body = json.dumps({"events": events}).encode()
    async with session.post(url + "/api/ingest", data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()
