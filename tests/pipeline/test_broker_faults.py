"""The port to the log while its broker freezes, its answers are lost on the wire, or its disk is full."""

import asyncio
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.broker import Broker
from deploy.local.spawn import wait_until
from ingest_gateway.log.event_log import EventLog
from tests.support.kafka_topics import a_stream_topic, read_all
from tests.support.losing_proxy import LosingProxy
from tests.support.ports import free_port
from tests.support.until import GIVE_UP_SECONDS, until

FROZEN_SECONDS = 40.0
KEY = b"one-key-one-partition"


class BehindProxy(Broker):
    """It names the proxy's port to its clients."""

    advertised_port = 0

    def prepare(self) -> None:
        super().prepare()
        named = f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.advertised_port}"
        lines = self._properties.read_text().splitlines()
        self._properties.write_text("\n".join(named if "advertised.listeners" in line else line for line in lines))


@pytest.fixture
def lossy(tmp_path: Path) -> Iterator[tuple[Broker, LosingProxy]]:
    broker = BehindProxy(tmp_path / "broker", free_port(), free_port(), heap_mb=256)
    with LosingProxy(broker.port) as proxy:
        broker.advertised_port = proxy.port
        broker.start()
        yield broker, proxy
        broker.kill()


def values(prefix: str, count: int) -> list[bytes]:
    return [f"{prefix}-{number}".encode() for number in range(count)]


def append_all(log: EventLog, topic: str, some: list[bytes]) -> "asyncio.Future[list[object]]":
    return asyncio.gather(*(log.append(topic, KEY, value, []) for value in some))


def on_the_log(bootstrap: str, topic: str) -> list[bytes | None]:
    return [record.value for record in sorted(read_all(bootstrap, topic), key=lambda record: record.offset)]


@pytest.mark.requirement("F4")
async def test_answers_lost_on_the_wire_leave_each_record_once_and_in_order(lossy: tuple[Broker, LosingProxy]) -> None:
    broker, proxy = lossy
    topic = a_stream_topic(broker.bootstrap)
    log = EventLog(f"127.0.0.1:{proxy.port}")
    log.start()
    sent = [values(f"round-{number}", 50) for number in range(3)]
    await append_all(log, topic, [b"first"])
    for some in sent:
        before_bytes = proxy.lost_bytes
        proxy.lose_answers()
        appended = append_all(log, topic, some)
        await until(lambda before_bytes=before_bytes: proxy.lost_bytes > before_bytes)  # type: ignore[misc]
        proxy.break_off()
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await appended
    await log.close(GIVE_UP_SECONDS)
    assert on_the_log(broker.bootstrap, topic) == [b"first", *sent[0], *sent[1], *sent[2]]


@pytest.mark.slow
@pytest.mark.requirement("F3")
async def test_a_broker_frozen_for_40_seconds_loses_nothing_and_doubles_nothing(own_broker: Broker) -> None:
    topic = a_stream_topic(own_broker.bootstrap)
    log = EventLog(own_broker.bootstrap)
    log.start()
    before, during = values("before", 200), values("during", 200)
    await append_all(log, topic, before[:100])
    under_way = append_all(log, topic, before[100:])
    own_broker.pause()
    frozen = append_all(log, topic, during)
    await asyncio.sleep(FROZEN_SECONDS)
    own_broker.resume()
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await asyncio.gather(under_way, frozen)
    await log.close(GIVE_UP_SECONDS)
    assert on_the_log(own_broker.bootstrap, topic) == [*before, *during]


@pytest.mark.slow
@pytest.mark.requirement("F6")
async def test_a_full_disk_loses_nothing_that_was_acknowledged_and_heals_with_space(
    own_broker: Broker, tmp_path: Path
) -> None:
    """A file may not grow beyond what it has, as if the disk were full; with space and a start the broker goes on."""
    topic = a_stream_topic(own_broker.bootstrap)
    log = EventLog(own_broker.bootstrap)
    log.start()
    before, during = values("before", 50), [bytes([number]) * 200_000 for number in range(40)]
    await append_all(log, topic, before)
    assert own_broker.pid is not None
    resource.prlimit(own_broker.pid, resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
    written = [log.append(topic, KEY, value, []) for value in during]
    assert await asyncio.to_thread(wait_until, lambda: own_broker.pid is None, GIVE_UP_SECONDS), (
        "it goes on without space"
    )
    await until(lambda: log.unreachable is not None)
    own_broker.start()
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await asyncio.gather(*written)
    await log.close(GIVE_UP_SECONDS)
    assert on_the_log(own_broker.bootstrap, topic) == [*before, *during]
