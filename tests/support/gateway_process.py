"""`python -m ingest_gateway` as `atlas up` runs it, for tests that stop, kill and ask it from outside.

`python -m tests.support.gateway_process` is the gateway with a producer that fails for good at its first record.
"""

import functools
import sys
import threading
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, Producer

from deploy.local.spawn import spawn
from tests.support.ports import free_port
from tests.support.worker import ROOT, Worker


class GatewayProcess(Worker):
    def __init__(self, bootstrap: str, home: Path, module: str = "ingest_gateway", **environment: str) -> None:
        self.events_port = free_port()
        ports = {"ATLAS_SURFACES": "events", "ATLAS_EVENTS_PORT": str(self.events_port)}
        super().__init__("gateway", bootstrap, home, **ports, **environment)
        self._module = module

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.events_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        command = [sys.executable, "-m", self._module]
        self._process = spawn(command, log=self.log, env=self._environment, cwd=ROOT)

    def wait(self, timeout_seconds: float) -> int:
        """Its exit code, when it ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout_seconds)


class ProducerThatFails:
    """A real producer up to its first record, which ends as librdkafka#3584 ends: fatally, whatever comes after."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._producer = Producer(config)
        self._reports: list[Any] = []
        self._lock = threading.Lock()

    def produce(self, topic: str, value: bytes, key: bytes, *, on_delivery: Any, headers: Any) -> None:
        with self._lock:
            self._reports.append(on_delivery)

    def poll(self, timeout: float) -> int:
        with self._lock:
            reports, self._reports = self._reports, []
        for report in reports:
            report(KafkaError(KafkaError._FATAL, "out of order sequence number", fatal=True), None)
        return int(self._producer.poll(0.02))

    def flush(self, timeout: float) -> int:
        return self.poll(timeout) * 0

    def list_topics(self, topic: str, timeout: float) -> object:
        return self._producer.list_topics(topic, timeout=timeout)


def main() -> None:
    from ingest_gateway import __main__ as gateway
    from ingest_gateway.log import clients
    from ingest_gateway.log.event_log import EventLog

    clients.EventLog = functools.partial(EventLog, make_producer=ProducerThatFails)  # type: ignore[misc, assignment]
    gateway.main()


if __name__ == "__main__":
    main()
