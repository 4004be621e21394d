"""Two gateways behind a load balancer are restarted one after the other, under load: nobody notices.

The balancers' configurations are those of deploy/proxy, which docs/production.md tells people to take.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from deploy.local.broker import Broker
from ingest_gateway.log.bootstrap import create_workspace
from operations.random_ids import short_id
from operations.settings import Settings, ensure_master_key
from schemas.codec import EVENT
from schemas.ids import WORKSPACE
from schemas.topics import stream_topic
from tests.support.certificates import a_certificate
from tests.support.control_stand_in import control_stand_in
from tests.support.events import an_event
from tests.support.gateway_process import GatewayProcess
from tests.support.kafka_topics import ensure_base_topics, read_all
from tests.support.load_balancers import LoadBalancer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STREAM = "orders"
SENDERS = 5
PAUSE_SECONDS = 0.1  # of each sender after an answer: about 50 requests a second in all
DRAIN_SECONDS = 10  # as it is in production
SETTLE_SECONDS = 3.0  # until a balancer has seen that a gateway is back


@dataclass
class Load:
    """What was sent through the balancer, and what became of it."""

    statuses: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    slowest_seconds: float = 0.0


@pytest.fixture
def gateways(own_broker: Broker, tmp_path: Path) -> Iterator[list[GatewayProcess]]:
    ensure_base_topics(own_broker.bootstrap)
    env = {"ATLAS_MASTER_KEY": ensure_master_key(tmp_path).hex(), "ATLAS_DRAIN_SECONDS": str(DRAIN_SECONDS)}
    pair = [
        GatewayProcess(own_broker.bootstrap, tmp_path / name, ATLAS_RATE_LIMITS="off", **env) for name in ("one", "two")
    ]
    yield pair
    for gateway in pair:
        gateway.kill()


@pytest.fixture
async def workspace(
    own_broker: Broker, gateways: list[GatewayProcess], tmp_path: Path
) -> AsyncIterator[dict[str, str]]:
    async with control_stand_in(own_broker.bootstrap, ensure_master_key(tmp_path)):
        settings = Settings.from_env({"ATLAS_HOME": str(tmp_path), "ATLAS_KAFKA": own_broker.bootstrap})
        yield await asyncio.to_thread(create_workspace, settings, short_id(WORKSPACE), "Test")


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
async def test_a_rolling_restart_is_not_noticed(
    name: str, own_broker: Broker, gateways: list[GatewayProcess], workspace: dict[str, str], tmp_path: Path
) -> None:
    _, trusting = a_certificate(tmp_path, "127.0.0.1")
    places = [(gateway.events_port, gateway.operations_port) for gateway in gateways]
    balancer = LoadBalancer(name, tmp_path, tmp_path / "certificate.pem", places)
    await asyncio.to_thread(lambda: [gateway.start_until_ready() for gateway in gateways])
    balancer.start()
    load, stop = Load(), asyncio.Event()
    headers = {"Authorization": f"Bearer {workspace['live_key']}", "Host": "events.example.com"}
    try:
        async with aiohttp.ClientSession(
            f"https://127.0.0.1:{balancer.port}", headers=headers, connector=aiohttp.TCPConnector(ssl=trusting)
        ) as client:
            async with client.post("/v1/event-streams", json={"name": STREAM}) as made:
                assert made.status == 201, await made.text()
            sending = [asyncio.create_task(send(client, load, stop, number)) for number in range(SENDERS)]
            for gateway in gateways:
                await asyncio.sleep(SETTLE_SECONDS)
                assert await asyncio.to_thread(gateway.stop) == 0
                await asyncio.to_thread(gateway.start_until_ready)
            await asyncio.sleep(SETTLE_SECONDS)
            stop.set()
            await asyncio.gather(*sending)
    finally:
        balancer.stop()
    print(name, dict(load.statuses), f"slowest {load.slowest_seconds:.2f} s", load.failed[:5])
    assert not load.failed and set(load.statuses) == {200, 202}
    topic = stream_topic(workspace["workspace_id"], "live", STREAM)
    records = read_all(own_broker.bootstrap, topic)
    stored = Counter(json.loads(EVENT.decode(record.value)["data"])["number"] for record in records)
    assert stored == Counter(load.accepted), "each once"


async def send(client: aiohttp.ClientSession, load: Load, stop: asyncio.Event, sender: int) -> None:
    """One event, then one read, and again."""
    number = sender
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    while not stop.is_set():
        event = an_event(stream=STREAM, data={"number": number}, occurred_at=now)
        if await ask(client, load, "POST", "/v1/events", event) == 202:
            load.accepted.append(number)
        await asyncio.sleep(PAUSE_SECONDS)
        await ask(client, load, "GET", f"/v1/event-streams/{STREAM}")
        await asyncio.sleep(PAUSE_SECONDS)
        number += SENDERS


async def ask(client: aiohttp.ClientSession, load: Load, method: str, path: str, body: object = None) -> int:
    started = time.monotonic()
    try:
        async with client.request(method, path, json=body) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, OSError) as error:
        load.failed.append(f"{method} {error!r}")
        return 0
    load.slowest_seconds = max(load.slowest_seconds, time.monotonic() - started)
    load.statuses[answer.status] += 1
    if answer.status >= 500:
        load.failed.append(f"{method} {answer.status} {text[:200]}")
    return answer.status
