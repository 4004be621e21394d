"""One measurement: what a gateway did with one shape of load, what it cost, and whether that can be believed."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bench.peers import wrk
from bench.peers.events import Shape, Target
from bench.peers.meters import Topic, cpu_of_all, cpu_seconds, forget_peak, peak_mib, rss_mib
from bench.peers.open_loop import Paced, pace
from bench.peers.table import Measurement
from bench.peers.wrk import Load

WARM_UP_SECONDS = 2.0
SETTLE_SECONDS = 3.0


@dataclass(frozen=True)
class Running:
    """A gateway that serves. `pids`: its processes and those beside it, as `gateway`, `broker`, `processors`."""

    target: Target
    topic: Topic
    pids: Mapping[str, list[int]]

    @property
    def gateway_pid(self) -> int:
        return self.pids["gateway"][0]


def loaded(running: Running, shape: Shape, seconds: float, requests: int = 0) -> Measurement:
    """As fast as it goes, each connection with its next request as soon as it has an answer (closed loop)."""
    wrk.run(running.target, shape, min(WARM_UP_SECONDS, seconds))
    before_events = running.topic.settled(running.gateway_pid)
    forget_peak(running.gateway_pid)
    load_before = os.getloadavg()[0]
    before_mib, before = rss_mib(running.gateway_pid), cpu_of_all(running.pids)
    load = wrk.run(running.target, shape, seconds, requests)
    events = running.topic.settled(running.gateway_pid) - before_events
    after = cpu_of_all(running.pids)
    cpu = {part: after[part] - before[part] for part in after} | {"client": load.client_cpu_seconds}
    memory = {"peak_mib": peak_mib(running.gateway_pid), "grown_mib": peak_mib(running.gateway_pid) - before_mib}
    rates = {
        "load_before": load_before,
        "events": events,
        "requests_per_second": load.requests / load.seconds,
        "events_per_second": load.requests * shape.size / load.seconds,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
    }
    faults = faults_of(load, shape, events)
    return Measurement(rates | costs(cpu, events) | memory, faults)


def at_half(running: Running, rate: float, seconds: float) -> Measurement:
    """Single events at `rate`, whatever the answers do (open loop)."""
    before_events = running.topic.settled(running.gateway_pid)
    load_before, before = os.getloadavg()[0], cpu_of_all(running.pids)
    paced = pace(running.target, rate, seconds, min(WARM_UP_SECONDS, seconds))
    events = running.topic.settled(running.gateway_pid) - before_events
    after = cpu_of_all(running.pids)
    cpu = {part: after[part] - before[part] for part in after}
    figures = {
        "load_before": load_before,
        "requests_per_second": paced.sent / seconds,
        "events_per_second": paced.sent / seconds,
        "p50_ms": paced.times.p50_ms,
        "p99_ms": paced.times.p99_ms,
        "max_ms": paced.times.max_ms,
        "client_us": paced.client_cpu_seconds / paced.sent * 1e6,
    }
    return Measurement(figures | costs(cpu, events), faults_of_paced(paced, events))


def at_rest(running: Running, seconds: float) -> Measurement:
    """Nobody asks it anything."""
    time.sleep(SETTLE_SECONDS)
    load_before = os.getloadavg()[0]
    began, before = time.monotonic(), cpu_seconds(running.gateway_pid)
    time.sleep(seconds)
    used = (cpu_seconds(running.gateway_pid) - before) / (time.monotonic() - began)
    memory = rss_mib(running.gateway_pid)
    return Measurement({"load_before": load_before, "core_percent": 100 * used, "rss_mib": memory})


def costs(cpu: Mapping[str, float], events: int) -> dict[str, float]:
    """Microseconds an event, which are also the CPU seconds of a million; nothing where no event came."""
    return {f"{part}_us": seconds / events * 1e6 for part, seconds in cpu.items()} if events else {}


def faults_of(load: Load, shape: Shape, events: int) -> tuple[str, ...]:
    """Every event that was answered is on the log, and besides only what was under way when wrk ended."""
    faults = []
    if load.refused:
        faults.append(f"{load.refused} answers that are not 2xx")
    if load.socket_errors:
        faults.append(f"{load.socket_errors} errors of sockets or time-outs")
    answered = (load.requests - load.refused) * shape.size
    if not answered <= events <= answered + shape.connections * shape.size:
        faults.append(f"{answered} events were answered and {events} are on the log")
    if not load.requests:
        faults.append("no answers")
    return tuple(faults)


def faults_of_paced(paced: Paced, events: int) -> tuple[str, ...]:
    """All that was sent is on the log, once."""
    faults = []
    if paced.refused:
        faults.append(f"{paced.refused} answers that are not 2xx")
    if paced.lost:
        faults.append(f"{paced.lost} requests without an answer")
    if not faults and events != paced.warm_up + paced.sent:
        faults.append(f"{paced.warm_up + paced.sent} events were sent and {events} are on the log")
    return tuple(faults)
