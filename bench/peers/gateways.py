"""The gateways that are compared. Each starts anew for its turn in a round, beside a broker that stays.

Atlas's workspace, key and stream are made by a whole Atlas of the same source tree, which then ends: gateway and broker
are left alone. The peers share a broker; each source tree has its own, since Atlas's topics have fixed names.
"""

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import psutil

from bench.latency import post
from bench.peers.events import MEMBER, STREAM, Target
from bench.peers.measuring import Running
from bench.peers.meters import Topic
from bench.system import ROOT, System
from deploy.local.broker import Broker
from deploy.local.child import http_not_ready
from deploy.local.spawn import end, last_lines, spawn, wait_until
from operations.settings import Ports
from operations.topic_admin import ensure_topics
from schemas.topics import StreamTopic, TopicSpec, stream_topic, stream_topic_spec
from tests.support.kafka_topics import PARTITIONS
from tests.support.ports import free_port, free_port_base

ATLAS, BEFORE, BARE, BENTHOS = "Atlas", "Atlas before", "bare gateway", "Benthos"
BENTHOS_CONFIG = Path(__file__).with_name("benthos") / "config.yaml"
PATIENCE_SECONDS = 60.0
STOP_SECONDS = 20.0


class NotServing(Exception):
    """A gateway ended or did not listen in time; the message carries its last words."""


class Gateway(Protocol):
    name: str

    def running(self) -> AbstractContextManager[Running]:
        """It serves within the block and is gone after it. Raises NotServing."""


@contextmanager
def a_broker(home: Path) -> Iterator[Broker]:
    """It looks more often than usual whether there is something to delete (meters.Topic.bound)."""
    properties = {"log.retention.check.interval.ms": "20000"}
    broker = Broker(home / "broker", free_port(), free_port(), properties=properties)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


class AtlasGateway:
    """Of the source tree `root`, run by `python`."""

    def __init__(self, name: str, home: Path, broker: Broker, root: Path = ROOT, python: str = sys.executable) -> None:
        self.name = name
        self._home, self._broker, self._root, self._python = home, broker, root, python
        self._port_base = free_port_base()
        kafka = {"ATLAS_KAFKA": broker.bootstrap, "ATLAS_DRAIN_SECONDS": "0"}
        whole = System(home, self._port_base, kafka, root, python)
        self._environment = whole.environment
        with whole as atlas:
            surface = atlas.dev["events"]
            post(surface, "/v1/event-streams", {"name": STREAM})
        self._target = target_of(surface)
        self._topic = topic_of(surface, broker.bootstrap)

    @contextmanager
    def running(self) -> Iterator[Running]:
        ready_url = f"http://127.0.0.1:{Ports(self._port_base).operations('gateway')}/readyz"
        command = [self._python, "-m", "ingest_gateway"]
        log = self._home / "gateway.log"
        with _process(command, log, self._environment, self._root, lambda: http_not_ready(ready_url) is None) as pid:
            yield Running(self._target, self._topic, {"gateway": [pid], "broker": _broker_pids(self._broker)})


class Peer:
    """Another gateway, a process that takes BOOTSTRAP, TOPIC and PORT."""

    def __init__(self, name: str, home: Path, broker: Broker, command: Sequence[str]) -> None:
        self.name = name
        self._command, self._broker = command, broker
        self._log = home / f"{name}.log"
        topic = f"events.{name.replace(' ', '-')}"
        config = stream_topic_spec(StreamTopic("peers", "live", STREAM), PARTITIONS, 1).config
        ensure_topics(broker.bootstrap, [TopicSpec(topic, PARTITIONS, config)])
        self._topic = Topic(broker.bootstrap, topic)
        self._topic.bound()

    @contextmanager
    def running(self) -> Iterator[Running]:
        port = free_port()
        url = f"http://127.0.0.1:{port}/events"
        environment = {
            **os.environ,
            "BOOTSTRAP": self._broker.bootstrap,
            "TOPIC": self._topic.name,
            "PORT": str(port),
        }
        with _process(self._command, self._log, environment, ROOT, lambda: _listens(port)) as pid:
            yield Running(Target(url, url), self._topic, {"gateway": [pid], "broker": _broker_pids(self._broker)})


def bare(home: Path, broker: Broker) -> Peer:
    return Peer(BARE, home, broker, [sys.executable, "-m", "bench.peers.bare"])


def benthos(home: Path, broker: Broker, program: Path) -> Peer:
    return Peer(BENTHOS, home, broker, [str(program), "-c", str(BENTHOS_CONFIG)])


@contextmanager
def whole_atlas(home: Path, root: Path, python: str) -> Iterator[Running]:
    """Broker, gateway and all processors of a source tree, in a home that is new. Raises SystemFailed."""
    with System(home, free_port_base(), root=root, python=python) as atlas:
        surface = atlas.dev["events"]
        post(surface, "/v1/event-streams", {"name": STREAM})
        pids: dict[str, list[int]] = {"gateway": [], "broker": [], "processors": []}
        for process in psutil.Process(atlas.pid).children():
            pids[part_of(process.cmdline())].append(process.pid)
        yield Running(target_of(surface), topic_of(surface, atlas.dev["kafka"]), pids)


def part_of(command: Sequence[str]) -> str:
    """Of the whole machine, which process belongs to what."""
    if "ingest_gateway" in command:
        return "gateway"
    return "broker" if "kafka.Kafka" in command else "processors"


def target_of(surface: Mapping[str, str]) -> Target:
    events = f"{surface['url']}/v1/events"
    return Target(events, f"{events}/batch", {"Authorization": f"Bearer {surface['live_key']}"}, MEMBER)


def topic_of(surface: Mapping[str, str], bootstrap: str) -> Topic:
    topic = Topic(bootstrap, stream_topic(surface["workspace_id"], "live", STREAM))
    topic.bound()
    return topic


@contextmanager
def _process(
    command: Sequence[str], log: Path, environment: Mapping[str, str], cwd: Path, is_ready: Callable[[], bool]
) -> Iterator[int]:
    """Its pid."""
    process = spawn(command, log=log, env=environment, cwd=cwd)
    try:
        wait_until(lambda: is_ready() or process.poll() is not None, PATIENCE_SECONDS)
        if process.poll() is not None or not is_ready():
            raise NotServing(f"{' '.join(command)} does not serve:\n" + "\n".join(last_lines(log, 20)))
        yield process.pid
    finally:
        end(process, STOP_SECONDS)


def _broker_pids(broker: Broker) -> list[int]:
    assert broker.pid is not None, "the broker runs"
    return [broker.pid]


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
