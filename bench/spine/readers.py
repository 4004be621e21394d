"""50 readers of one org's live stream at 1,000 events a second, one of which reads nothing: the others' lag.

A broker, control and admission as processes, a gateway process that serves the spine, and the readers in this one, all
on two cores. Events are appended as a gateway does it; the lag is from the append to the reader's socket. Beside it, a
bare consumer of the same topic. The stalled reader is to be cut off, and the gateway's memory to stay as it is.
"""

import asyncio
import contextlib
import re
import socket
import tempfile
import threading
import time
import uuid
from pathlib import Path

import psutil
import uvloop
from confluent_kafka import Consumer, Producer, TopicPartition
from yarl import URL

from bench.figures import ROW_HEAD, figures_of
from bench.latency import keep_to_cores
from domain.events.spine_events import SpineEvent, digest_of, encode_spine_event
from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from ingest_gateway.log.bootstrap import create_workspace
from operations import clock
from operations.kafka_clients import reader_config
from operations.random_ids import random_id, short_id
from operations.settings import Settings
from schemas.ids import EVENT, WORKSPACE
from schemas.topics import stream_topic
from tests.support.gateway_process import GatewayProcess
from tests.support.kafka_topics import PARTITIONS
from tests.support.ports import free_port
from tests.support.work_installation import an_installation

READERS = 50
RATE = 1_000
SECONDS, WARM_UP_SECONDS = 30.0, 5.0
GOAL_P99_MS = 200.0
GROWTH_MAX_BYTES = 32 * 1024 * 1024
CORES = 2
TICK_SECONDS = 0.01
_SENT = re.compile(rb'"sent":(\d+)')


def run() -> int:
    keep_to_cores(CORES)
    with tempfile.TemporaryDirectory(prefix="atlas-bench-spine-") as home:
        return uvloop.run(_measure(Path(home)))


async def _measure(home: Path) -> int:
    with an_installation(home, ("control", "admission")) as installation:
        port = free_port()
        gateway = GatewayProcess(installation.broker.bootstrap, home, ATLAS_LOG_LEVEL="WARNING")
        more = {**installation.environment, "ATLAS_SURFACES": "spine", "ATLAS_SPINE_PORT": str(port)}
        gateway._environment.update({**more, "ATLAS_RATE_LIMITS": "off"})
        await asyncio.to_thread(gateway.start_until_ready)
        try:
            settings = Settings.from_env(installation.environment)
            workspace = short_id(WORKSPACE)
            key = (await asyncio.to_thread(create_workspace, settings, workspace, "Bench"))["spine_key"]
            url = URL(f"http://127.0.0.1:{port}")
            return await _read_and_write(settings, workspace, key, url, gateway.pid)
        finally:
            gateway.kill()


async def _read_and_write(settings: Settings, workspace: str, key: str, url: URL, pid: int) -> int:
    lags_ns: list[int] = []
    counts = [0] * (READERS - 1)
    readers = [asyncio.create_task(_read(url, key, lags_ns, counts, number)) for number in range(READERS - 1)]
    stalled = await _stalled(url, key)
    await asyncio.sleep(2)
    writing = Writing(settings, workspace)
    bare = Bare(settings.kafka, stream_topic(workspace, "live", "spine"))
    await asyncio.to_thread(bare.start)
    await asyncio.to_thread(writing.run, WARM_UP_SECONDS)
    lags_ns.clear()
    bare.lags_ns.clear()
    memory_before = psutil.Process(pid).memory_info().rss
    await asyncio.to_thread(writing.run, SECONDS)
    await asyncio.sleep(2)
    memory_after = psutil.Process(pid).memory_info().rss
    for reader in readers:
        reader.cancel()
    bare.stop()
    was_cut = await _is_cut(stalled)
    lags, bare_lags = figures_of(lags_ns), figures_of(bare.lags_ns)
    grown_mb = (memory_after - memory_before) / 1024 / 1024
    missed = (READERS - 1) * writing.sent - sum(counts)
    print(
        f"{READERS - 1} live readers and one that stalls, {RATE:,} events a second for {SECONDS:g} s on {CORES} cores"
    )
    print(f"{'':32}{ROW_HEAD}")
    print(f"{'append → live reader':32}{lags.as_row()}")
    print(f"{'append → bare Kafka consumer':32}{bare_lags.as_row()}")
    print(f"a live reader is {lags.p99_ms / bare_lags.p99_ms:.1f} × the bare consumer at p99; events missed: {missed}")
    print(f"the stalled reader was {'cut off' if was_cut else 'NOT cut off'}; the gateway grew by {grown_mb:.1f} MB")
    met = lags.p99_ms <= GOAL_P99_MS and was_cut and not missed and grown_mb * 1024 * 1024 <= GROWTH_MAX_BYTES
    print(f"goal p99 ≤ {GOAL_P99_MS:g} ms, memory flat, nothing missed: {'met' if met else 'MISSED'}")
    return 0 if met else 1


class Writing:
    """Appends events as a gateway does."""

    def __init__(self, settings: Settings, workspace: str) -> None:
        self.sent = 0
        self._topic = stream_topic(workspace, "live", "spine")
        self._workspace = workspace
        self._signer = GatewaySigner(settings.master_key)
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka, "linger.ms": 1, "partitioner": "murmur2_random"}
        )

    def run(self, seconds: float) -> None:
        began = time.perf_counter()
        for number in range(int(RATE * seconds)):
            wait_seconds = began + number / RATE - time.perf_counter()
            if wait_seconds > 0:
                time.sleep(max(wait_seconds, TICK_SECONDS))
            self._send()
            self._producer.poll(0)
        self._producer.flush(10)

    def _send(self) -> None:
        now_ms = clock.now_ms()
        data = b'{"sent":%d,"text":"%b"}' % (time.monotonic_ns(), b"x" * 500)
        event = SpineEvent(type="code.analysis.complete", source="bench", data=data)
        digest = digest_of(event)
        identifier = random_id(EVENT, now_ms)
        value = encode_spine_event(event, identifier, None, now_ms)
        headers = [(GATEWAY_SIGNATURE, self._signer.sign(self._topic, digest, value))]
        self._producer.produce(self._topic, value, identifier.encode(), headers=headers)
        self.sent += 1


class Bare:
    """A consumer of the topic that does nothing with what it reads."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.lags_ns: list[int] = []
        self._consumer = Consumer(reader_config(bootstrap, f"bench-{uuid.uuid4().hex}"))
        self._topic = topic
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._consumer.assign([TopicPartition(self._topic, partition, 0) for partition in range(PARTITIONS)])
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._consumer.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            first = self._consumer.poll(0.1)
            for message in [] if first is None else [first, *self._consumer.consume(1_000, 0)]:
                found = _SENT.search(message.value() or b"") if message.error() is None else None
                if found is not None:
                    self.lags_ns.append(time.monotonic_ns() - int(found[1]))


async def _open(
    url: URL, key: str, receive_bytes: int | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    opened = socket.socket()
    if receive_bytes is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    opened.setblocking(False)
    await asyncio.get_running_loop().sock_connect(opened, (url.host, url.port))
    reader, writer = await asyncio.open_connection(sock=opened, limit=1 << 20)
    head = f"GET /v1/events/stream HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {key}\r\n\r\n"
    writer.write(head.encode())
    return reader, writer


async def _read(url: URL, key: str, lags_ns: list[int], counts: list[int], number: int) -> None:
    reader, _writer = await _open(url, key)
    rest = b""
    while chunk := await reader.read(1 << 20):
        now_ns = time.monotonic_ns()
        text = rest + chunk
        cut = text.rfind(b"\n") + 1
        rest = text[cut:]
        found = _SENT.findall(text[:cut])
        counts[number] += len(found)
        lags_ns.extend(now_ns - int(sent) for sent in found)


async def _stalled(url: URL, key: str) -> asyncio.StreamReader:
    """Reads its head and nothing more."""
    reader, _writer = await _open(url, key, receive_bytes=4_096)
    await reader.readuntil(b"\r\n\r\n")
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    return reader


async def _is_cut(reader: asyncio.StreamReader) -> bool:
    """What had come is read; whether the end is behind it."""
    reader._transport.resume_reading()  # type: ignore[attr-defined]
    with contextlib.suppress(ConnectionError):
        try:
            async with asyncio.timeout(5):
                while await reader.read(1 << 20):
                    pass
        except TimeoutError:
            return False
    return True
