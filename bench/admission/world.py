"""What each part of the bench runs on: a broker, a home with a master key, and admission's real process on them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.local.broker import Broker
from deploy.local.spawn import last_lines
from domain.security.gateway_signatures import GatewaySigner
from operations.settings import ensure_master_key
from tests.support.kafka_topics import ensure_base_topics
from tests.support.ports import free_port
from tests.support.streams import LiveStream
from tests.support.worker import Worker

BROKER_HEAP_MB = 512


class TookTooLong(Exception):
    """A part did not come to its end within its time."""


@dataclass(frozen=True)
class World:
    """`home` is the worker's: master key, tables, log."""

    kafka: str
    broker_pid: int
    home: Path
    master_key: bytes

    def stream(self, name: str, routes: list[str] | None = None, *, announce: bool = True) -> LiveStream:
        return LiveStream(self.kafka, self.master_key, name, routes=routes, announce=announce)

    def signer(self) -> GatewaySigner:
        return GatewaySigner(self.master_key)

    def worker(self, home: Path | None = None, **environment: str) -> Worker:
        """Not started. One with a home of its own has tables of its own and the same master key."""
        common = {"ATLAS_LOG_LEVEL": "WARNING", "ATLAS_MASTER_KEY": self.master_key.hex()}
        return Worker("admission", self.kafka, home or self.home, **common | environment)


@contextmanager
def a_world(directory: Path, heap_mb: int = BROKER_HEAP_MB) -> Iterator[World]:
    """A fresh one: no stream, nothing on the log."""
    directory.mkdir(parents=True)
    master_key = ensure_master_key(directory)
    broker = Broker(directory / "broker", free_port(), free_port(), heap_mb=heap_mb)
    broker.start()
    try:
        ensure_base_topics(broker.bootstrap)
        assert broker.pid is not None
        yield World(broker.bootstrap, broker.pid, directory, master_key)
    finally:
        broker.kill()


def wait_until_ready(worker: Worker, seconds: float) -> None:
    """Raises TookTooLong, at once with its last words where the process ended."""

    def ready() -> bool:
        if not worker.runs:
            raise TookTooLong("the worker ended: " + " ".join(last_lines(worker.log, 2)))
        return worker.missing() == {}

    wait_for(ready, seconds, "to be ready", every_seconds=0.05)


@contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    """Started, not awaited; killed at the end."""
    worker.start()
    try:
        yield worker
    finally:
        worker.kill()


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def wait_for(is_done: Callable[[], bool], seconds: float, what: str, *, every_seconds: float = 0.1) -> None:
    """Raises TookTooLong."""
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise TookTooLong(f"{what}: not within {seconds:g} s")
        time.sleep(every_seconds)
