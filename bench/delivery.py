"""`make bench-delivery`: what the delivery process does a second and a core, keeps apart, and needs for what waits.

Against one broker and receivers on this machine, the delivery process alone:
1. deliveries a second and a core to endpoints that answer at once, beside a bare aiohttp client that posts as much to
   the same receiver with as many at a time; a core's second is one of the process's own CPU time;
2. from the append to the arrival at 7 good endpoints, at a steady rate, without and with three bad ones beside them:
   a dead one, one that takes 4.9 s, one that answers a byte a second; and with three more good ones in their place,
   which says how much of the difference is that of 10 endpoints' load instead of 7's. Rounds by turns; what counts
   is the ratio of the medians of their p99s;
3. memory when 100,000 deliveries wait.
Figures are printed and kept in bench/results/delivery.json.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop
from confluent_kafka import Producer

from bench.bad_receiver import bad_receiver
from bench.figures import ROW_HEAD, Figures, figures_of
from bench.receiver import receiver
from deploy.local.broker import Broker
from tests.support.delivery_tenant import Tenant
from tests.support.kafka_topics import ensure_base_topics
from tests.support.ports import free_port
from tests.support.processor import Processor

RESULTS = Path(__file__).parent / "results" / "delivery.json"
PARTITIONS = 8
GOAL_A_CORE = 1_500.0
GOAL_P99_RATIO = 1.2
GOAL_WAITING_MIB = 200.0
WAITING = 100_000
ROUNDS = 5
ALONE, BESIDE_BAD, BESIDE_GOOD = "alone", "beside_three_bad", "beside_three_good"
GIVE_UP_SECONDS = 300.0
MIB = 1024 * 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.delivery", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--deliveries", type=int, default=20_000, help="for the throughput (20000)")
    parser.add_argument("--rate", type=float, default=140.0, help="a second, over the good endpoints (140)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run at a steady rate (8)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each kind at a steady rate ({ROUNDS})")
    parser.add_argument("--only", choices=("throughput", "isolation", "waiting"), help="one part alone")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory, a_broker(Path(directory)) as kafka:
        home = Path(directory)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "throughput": lambda: throughput(kafka, home, asked.deliveries),
            "isolation": lambda: isolation(kafka, home, asked.rate, asked.seconds, asked.rounds),
            "waiting": lambda: waiting(kafka, home),
        }
        found = {name: part() for name, part in parts.items() if asked.only in (None, name)}
    report(found, load)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"at": at, "load_before": load, **found}, indent=2) + "\n")
    return 0 if all(part["met"] for part in found.values()) else 1


def throughput(kafka: str, home: Path, count: int) -> dict[str, Any]:
    """A backlog that stands on the log as the process starts, to 8 endpoints of one receiver."""
    with receiver() as endpoint:
        tenant = Tenant(kafka)
        for number in range(PARTITIONS):
            tenant.workflow(f"wf_{number}", f"{endpoint.url}/{number}")
            tenant.deliver(f"wf_{number}", count // PARTITIONS, number)
        with a_process(kafka, home / "throughput") as process:
            began, cpu = time.monotonic(), cpu_seconds(process.pid)
            wait_for(lambda: process.metric('atlas_delivery_attempts_total{outcome="delivered"}') >= count)
            seconds, cpu = time.monotonic() - began, cpu_seconds(process.pid) - cpu
        arrived = len(endpoint.arrivals())
        bare_seconds, bare_cpu = asyncio.run(bare_client(endpoint.url, count))
    a_core = count / cpu
    return {
        "deliveries": count,
        "arrived": arrived,
        "a_second": round(count / seconds),
        "a_core_second": round(a_core),
        "bare_client_a_second": round(count / bare_seconds),
        "bare_client_a_core_second": round(count / bare_cpu),
        "share_of_bare": round(bare_cpu / cpu, 2),
        "met": a_core >= GOAL_A_CORE and arrived == count,
    }


async def bare_client(url: str, count: int) -> tuple[float, float]:
    """Seconds and CPU seconds of a loop of POSTs of the same size, 256 at a time."""
    body = b'{"id":"bare","data":"' + b"x" * 400 + b'"}'
    left = iter(range(count))

    async def post(session: aiohttp.ClientSession) -> None:
        for _ in left:
            async with session.post(url + "/bare", data=body) as answered:
                await answered.read()

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        began, cpu = time.monotonic(), time.process_time()
        await asyncio.gather(*(post(session) for _ in range(256)))
        return time.monotonic() - began, time.process_time() - cpu


def isolation(kafka: str, home: Path, rate: float, seconds: float, rounds: int) -> dict[str, Any]:
    """Rounds by turns, since a machine has other things to do; of each kind the one with the middle p99 counts."""
    runs: dict[str, list[Figures]] = {kind: [] for kind in (ALONE, BESIDE_BAD, BESIDE_GOOD)}
    for number in range(rounds):
        for kind, figures in runs.items():
            figures.append(steady(kafka, home / f"{kind}{number}", rate, seconds, kind))
    middle = {kind: sorted(figures, key=lambda run: run.p99_ms)[rounds // 2] for kind, figures in runs.items()}
    ratio, of_load = (middle[kind].p99_ms / middle[ALONE].p99_ms for kind in (BESIDE_BAD, BESIDE_GOOD))
    return {
        **{kind: figures.as_json() for kind, figures in middle.items()},
        "p99_ms": {kind: [run.p99_ms for run in figures] for kind, figures in runs.items()},
        "p99_ratio": round(ratio, 2),
        "p99_ratio_of_load": round(of_load, 2),
        "met": ratio <= GOAL_P99_RATIO,
    }


def steady(kafka: str, home: Path, rate: float, seconds: float, kind: str) -> Figures:
    """From produce to arrival at the 7 endpoints; three others get as many each as one of them."""
    tenant = Tenant(kafka)
    good = [f"wf_good{number}" for number in range(7)]
    with receiver() as endpoint, bad_receiver() as bad_url, a_process(kafka, home):
        others = others_of(tenant, kind, endpoint.url, bad_url)
        for workflow_id in good:
            tenant.workflow(workflow_id, f"{endpoint.url}/{workflow_id}")
        warm_up = send(kafka, tenant, [*good, *others], rate, 3.0)
        sent = send(kafka, tenant, [*good, *others], rate, seconds)
        wanted = {event_id for event_id, (workflow_id, _) in {**warm_up, **sent}.items() if workflow_id in good}
        wait_for(lambda: wanted <= endpoint.arrivals().keys())
        arrivals = endpoint.arrivals()
    return figures_of([arrivals[one] - at_ns for one, (workflow_id, at_ns) in sent.items() if workflow_id in good])


def others_of(tenant: Tenant, kind: str, good_url: str, bad_url: str) -> list[str]:
    urls: dict[str, str] = {}
    if kind == BESIDE_BAD:
        urls = {"dead": f"http://127.0.0.1:{free_port()}/", "slow": bad_url + "/slow", "drip": bad_url + "/drip"}
    elif kind == BESIDE_GOOD:
        urls = {f"more{number}": f"{good_url}/more{number}" for number in range(3)}
    for name, url in urls.items():
        tenant.workflow(f"wf_{name}", url)
    return [f"wf_{name}" for name in urls]


def send(
    kafka: str, tenant: Tenant, workflows: Sequence[str], rate: float, seconds: float
) -> dict[str, tuple[str, int]]:
    """Event id to its workflow and when it was produced; each workflow's on one partition, as admission does."""
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 0})
    sent: dict[str, tuple[str, int]] = {}
    interval_ns = round(1e9 / (rate * len(workflows) / 7))
    first_ns = time.monotonic_ns()
    for number in range(round(seconds * 1e9 / interval_ns)):
        while (left_ns := first_ns + number * interval_ns - time.monotonic_ns()) > 0:
            producer.poll(left_ns / 1e9)
        index = number % len(workflows)
        delivery = tenant.delivery(workflows[index])
        sent[delivery.event_id] = workflows[index], time.monotonic_ns()
        producer.produce("deliveries", delivery.encode(), partition=index % PARTITIONS)
    producer.flush(30)
    return sent


def waiting(kafka: str, home: Path) -> dict[str, Any]:
    """Deliveries for an endpoint that refuses connections: all wait, for the schedule or behind those that do."""
    tenant = Tenant(kafka)
    with a_process(kafka, home / "waiting") as process:
        before = psutil.Process(process.pid).memory_info().rss
        for number in range(PARTITIONS):
            tenant.workflow(f"wf_dead{number}", f"http://127.0.0.1:{free_port()}/")
            tenant.deliver(f"wf_dead{number}", WAITING // PARTITIONS, number)
        most = before
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            most = max(most, psutil.Process(process.pid).memory_info().rss)
            if process.metric("atlas_delivery_spilled_total") >= WAITING * 0.99 and not process.metric(
                "atlas_delivery_unconfirmed_outcomes"
            ):
                break
            time.sleep(0.2)
        time.sleep(2.0)
        after = psutil.Process(process.pid).memory_info().rss
        stand = int(process.metric("atlas_delivery_spilled_total"))
    cost = (after - before) / MIB
    return {
        "deliveries": WAITING,
        "in_the_table": stand,
        "rss_before_mib": round(before / MIB, 1),
        "rss_after_mib": round(after / MIB, 1),
        "rss_most_mib": round(most / MIB, 1),
        "cost_mib": round(cost, 1),
        "met": cost < GOAL_WAITING_MIB and stand >= WAITING * 0.99,
    }


@contextmanager
def a_broker(directory: Path) -> Iterator[str]:
    broker = Broker(directory / "broker", free_port(), free_port(), heap_mb=384)
    broker.start()
    try:
        ensure_base_topics(broker.bootstrap)
        yield broker.bootstrap
    finally:
        broker.kill()


@contextmanager
def a_process(kafka: str, home: Path) -> Iterator[Processor]:
    process = Processor("delivery", kafka, home, ATLAS_ALLOW_PRIVATE_TARGETS="1", ATLAS_LOG_LEVEL="WARNING").start()
    try:
        yield process
    finally:
        process.kill()


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def wait_for(is_done: Any) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not done after {GIVE_UP_SECONDS:g} s")
        time.sleep(0.1)


def report(found: dict[str, Any], load: float) -> None:
    print(f"load before: {load:.2f}")
    for name, show in (
        ("throughput", _report_throughput),
        ("isolation", _report_isolation),
        ("waiting", _report_waiting),
    ):
        if name in found:
            show(found[name])


def _report_throughput(done: dict[str, Any]) -> None:
    print(
        f"deliveries: {done['a_second']} a second, {done['a_core_second']} a core's second "
        f"(bare aiohttp client: {done['bare_client_a_second']} and {done['bare_client_a_core_second']}; "
        f"{done['share_of_bare']:.2f} of it); goal {GOAL_A_CORE:g} a core: {verdict(done)}"
    )


def _report_isolation(apart: dict[str, Any]) -> None:
    print(f"{'append → arrival':<24} {ROW_HEAD}")
    for name in (ALONE, BESIDE_BAD, BESIDE_GOOD):
        print(f"{name:<24} {Figures(**apart[name]).as_row()}   p99 of each round: {apart['p99_ms'][name]}")
    print(
        f"p99 beside three bad endpoints is {apart['p99_ratio']} × alone (three more good ones: "
        f"{apart['p99_ratio_of_load']} ×); goal {GOAL_P99_RATIO}: {verdict(apart)}"
    )


def _report_waiting(stand: dict[str, Any]) -> None:
    print(
        f"{stand['deliveries']} waiting: {stand['cost_mib']} MiB more ({stand['rss_before_mib']} → "
        f"{stand['rss_after_mib']}, at most {stand['rss_most_mib']}); goal {GOAL_WAITING_MIB:g}: {verdict(stand)}"
    )


def verdict(part: dict[str, Any]) -> str:
    return "met" if part["met"] else "MISSED"


if __name__ == "__main__":
    uvloop.install()
    sys.exit(main())
