"""The gateway process from outside: when it is ready, how it stops, what it answers when the broker or it is hurt."""

import asyncio
import json
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from click.testing import CliRunner

from cli.main import main as atlas
from deploy.local.broker import Broker
from deploy.local.spawn import wait_until
from ingest_gateway.log.bootstrap import (
    FIRST_KEYS,
    create_workspace,
    development_workspace_id,
    ensure_development_workspace,
)
from operations.random_ids import short_id
from operations.settings import Settings, ensure_master_key
from schemas.codec import EVENT
from schemas.ids import WORKSPACE
from schemas.topics import stream_topic
from tests.support.control_stand_in import StandInControl, control_stand_in
from tests.support.events import an_event
from tests.support.gateway_process import GatewayProcess
from tests.support.kafka_topics import ensure_base_topics, read_all
from tests.support.ports import free_port

STREAM = "orders-prod"
EXIT_SECONDS = 10.0
FATAL_EXIT_SECONDS = 5.0


@pytest.fixture
async def control(own_broker: Broker, tmp_path: Path) -> AsyncIterator[StandInControl]:
    ensure_base_topics(own_broker.bootstrap)
    async with control_stand_in(own_broker.bootstrap, ensure_master_key(tmp_path)) as control:
        yield control


@pytest.fixture
def gateway(own_broker: Broker, control: StandInControl, tmp_path: Path) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(own_broker.bootstrap, tmp_path, ATLAS_RATE_LIMITS="off")
    gateway.start_until_ready()
    yield gateway
    gateway.kill()


@pytest.fixture
async def client(gateway: GatewayProcess, settings: Settings) -> AsyncIterator["Client"]:
    async with a_client(gateway, settings) as client:
        yield client


@pytest.fixture
def settings(own_broker: Broker, tmp_path: Path) -> Settings:
    return Settings.from_env({"ATLAS_HOME": str(tmp_path), "ATLAS_KAFKA": own_broker.bootstrap})


class Client:
    def __init__(self, url: str, made: dict[str, str], session: aiohttp.ClientSession) -> None:
        self.made = made
        self.workspace = made["workspace_id"]
        self._url = url
        self._headers = {"Authorization": f"Bearer {made['live_key']}"}
        self._session = session

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any], Any]:
        async with self._session.post(self._url + path, json=body, headers=self._headers) as answer:
            return answer.status, await answer.json(), answer.headers

    async def publish(self, number: int = 0) -> tuple[int, dict[str, Any], Any]:
        return await self.post("/v1/events", an_event(stream=STREAM, data={"number": number}, occurred_at=NOW))

    @property
    def topic(self) -> str:
        return stream_topic(self.workspace, "live", STREAM)


NOW = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class a_client:
    """A client whose workspace and stream are there."""

    def __init__(self, gateway: GatewayProcess, settings: Settings) -> None:
        self._gateway, self._settings = gateway, settings
        self._session = aiohttp.ClientSession()

    async def __aenter__(self) -> Client:
        made = await asyncio.to_thread(create_workspace, self._settings, short_id(WORKSPACE), "Test")
        client = Client(self._gateway.url, made, self._session)
        status, body, _ = await client.post("/v1/event-streams", {"name": STREAM})
        assert status == 201, body
        return client

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


@dataclass
class Load:
    """Numbers of the events that were answered, by status; those without an answer were cut off."""

    accepted: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)


async def published_until_the_end(client: Client) -> Load:
    """Sends events until the gateway is gone."""
    load = Load()

    async def go_on(numbers: Iterator[int]) -> None:
        for number in numbers:
            try:
                status, _, _ = await client.publish(number)
            except (aiohttp.ClientError, ConnectionError):
                return
            assert status in (202, 503)
            (load.accepted if status == 202 else load.refused).add(number)

    numbers = iter(range(100_000))
    await asyncio.gather(*(go_on(numbers) for _ in range(20)))
    return load


def numbers_on(bootstrap: str, topic: str) -> list[int]:
    return [json.loads(EVENT.decode(record.value)["data"])["number"] for record in read_all(bootstrap, topic)]


@pytest.mark.requirement("F42")
async def test_a_stop_under_load_answers_what_is_under_way(
    gateway: GatewayProcess, client: Client, own_broker: Broker
) -> None:
    sending = asyncio.create_task(published_until_the_end(client))
    await asyncio.sleep(0.5)
    started = time.monotonic()
    assert await asyncio.to_thread(gateway.stop) == 0
    assert time.monotonic() - started < EXIT_SECONDS
    load, stored = await sending, numbers_on(own_broker.bootstrap, client.topic)
    assert load.accepted and load.accepted <= set(stored)
    assert set(stored) <= load.accepted | load.refused, "whatever was stored was answered"
    assert len(stored) == len(set(stored))


async def test_a_drain_serves_on_then_ends_connections_then_the_process(
    own_broker: Broker, control: StandInControl, tmp_path: Path, settings: Settings
) -> None:
    gateway = GatewayProcess(own_broker.bootstrap, tmp_path, ATLAS_DRAIN_SECONDS="6")
    gateway.start_until_ready()
    try:
        async with a_client(gateway, settings) as client:
            gateway.signal(signal.SIGTERM)
            async with asyncio.timeout(3):
                while (missing := await asyncio.to_thread(gateway.missing)) == {}:  # noqa: ASYNC110 asked over HTTP
                    await asyncio.sleep(0.02)
            assert missing == {"drain": "draining: send requests elsewhere"}
            status, _, headers = await client.publish(1)
            assert status == 202 and "Connection" not in headers, "it is only said to be leaving"
            async with asyncio.timeout(5):
                while headers.get("Connection") != "close":
                    await asyncio.sleep(0.1)
                    status, _, headers = await client.publish(1)
                    assert status == 202
            assert (await client.publish(2))[0] == 202, "a new connection"
        assert await asyncio.to_thread(gateway.wait, EXIT_SECONDS) == 0
    finally:
        gateway.kill()


@pytest.mark.parametrize(
    ("signals", "exit_code"),
    [((signal.SIGINT,), 0), ((signal.SIGTERM, signal.SIGTERM), 143)],
    ids=["Ctrl-C", "SIGTERM twice"],
)
async def test_a_drain_can_be_cut_short(
    own_broker: Broker, control: StandInControl, tmp_path: Path, signals: tuple[signal.Signals, ...], exit_code: int
) -> None:
    gateway = GatewayProcess(own_broker.bootstrap, tmp_path, ATLAS_DRAIN_SECONDS="300")
    gateway.start_until_ready()
    try:
        for number in signals:
            gateway.signal(number)
            await asyncio.sleep(0.3)  # two signals at once may come as one
        assert await asyncio.to_thread(gateway.wait, EXIT_SECONDS) == exit_code
    finally:
        gateway.kill()


@pytest.mark.requirement("F1", "F34")
async def test_a_kill_right_after_a_202_loses_nothing(
    gateway: GatewayProcess, client: Client, own_broker: Broker
) -> None:
    sending = asyncio.create_task(published_until_the_end(client))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(gateway.kill)
    load = await sending
    assert load.accepted and load.accepted <= set(numbers_on(own_broker.bootstrap, client.topic))


@pytest.mark.requirement("F2", "F8")
async def test_a_broker_that_stops_answering_gives_503_in_time_and_flat_memory(
    gateway: GatewayProcess, client: Client, own_broker: Broker
) -> None:
    before = await client.publish()
    assert before[0] == 202
    before_bytes = psutil.Process(gateway.pid).memory_info().rss
    own_broker.pause()
    started = time.monotonic()
    answers = await asyncio.gather(*(client.publish(number) for number in range(1, 1_001)))
    assert {status for status, _, _ in answers} == {503}
    assert all(int(headers["Retry-After"]) >= 1 for _, _, headers in answers)
    assert time.monotonic() - started < 30
    assert psutil.Process(gateway.pid).memory_info().rss - before_bytes < 150_000_000
    own_broker.resume()
    own_broker.wait_until_serving()
    async with asyncio.timeout(60):
        while (await client.publish())[0] != 202:  # noqa: ASYNC110 it is asked over HTTP
            await asyncio.sleep(0.1)
    assert (await client.publish())[1]["id"] == before[1]["id"]


@pytest.mark.slow
@pytest.mark.requirement("F40")
async def test_a_gateway_that_is_killed_takes_only_its_own_connections_with_it(
    gateway: GatewayProcess, client: Client, own_broker: Broker, tmp_path: Path, settings: Settings
) -> None:
    other = GatewayProcess(own_broker.bootstrap, tmp_path, ATLAS_RATE_LIMITS="off")
    other.start_until_ready()
    try:
        async with a_client(other, settings) as beside:
            sending = asyncio.create_task(published_until_the_end(client))
            statuses = [(await beside.publish(number))[0] for number in range(20)]
            await asyncio.to_thread(gateway.kill)
            statuses += [(await beside.publish(number))[0] for number in range(20, 40)]
            load = await sending
        assert statuses == [202] * 40
        assert load.accepted and load.accepted <= set(numbers_on(own_broker.bootstrap, client.topic))
    finally:
        other.kill()


@pytest.mark.slow
@pytest.mark.requirement("F41")
async def test_without_file_descriptors_it_waits_and_accepts_again_after_the_flood(
    gateway: GatewayProcess, client: Client
) -> None:
    process = psutil.Process(gateway.pid)
    soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 20, hard))
    flood = [await asyncio.open_connection("127.0.0.1", gateway.events_port) for _ in range(60)]
    bound = process.rlimit(psutil.RLIMIT_NOFILE)[0]
    assert await asyncio.to_thread(wait_until, lambda: process.num_fds() >= bound, 10.0), "the flood is too small"
    before_seconds, began = _cpu_seconds(process), time.monotonic()
    await asyncio.sleep(2.0)
    share = (_cpu_seconds(process) - before_seconds) / (time.monotonic() - began)
    for _reader, writer in flood:
        writer.close()
    assert share < 0.5, "it spins"
    # libuv accepts what it has no descriptor for and closes it at once, until the flood's own are given back.
    assert await asyncio.to_thread(wait_until, lambda: process.num_fds() < bound - 10, 10.0)
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        again = Client(gateway.url, client.made, session)
        assert (await again.publish())[0] == 202
    process.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@pytest.mark.requirement("F1", "F39")
async def test_a_killed_broker_degrades_the_gateway_and_its_return_makes_all_well(
    gateway: GatewayProcess, client: Client, own_broker: Broker
) -> None:
    assert (await client.publish(0))[0] == 202 and gateway.readyz() == {"status": "ready"}
    own_broker.kill()
    assert (await client.publish(1))[0] == 503
    await comes_to(lambda: set(gateway.degraded()) == {"appends", "control"})
    said = gateway.degraded()
    assert "the end of control is not known" in said["control"] and "for the brokers to confirm it" in said["appends"]
    assert gateway.readyz()["status"] == "ready", "others would be as badly off: nobody leaves the pool"
    assert gateway.metric("atlas_degraded") == 2 and gateway.metric("atlas_produce_oldest_seconds") > 5

    await asyncio.to_thread(own_broker.start)
    await answers(client, 201, "/v1/event-streams", {"name": "made-after-it"})
    await answers(client, 404, "/v1/events", an_event(stream="no-such-stream", occurred_at=NOW))
    assert (await client.publish(2))[0] == 202
    await comes_to(lambda: gateway.readyz() == {"status": "ready"})
    assert gateway.metric("atlas_degraded") == 0
    log = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    told = [
        line["message"] for line in log if line["message"].startswith(("control.", "gateway.")) and "what" not in line
    ]
    assert told[-2:] == ["control.behind", "control.current"], told
    noise = [line for line in log if line["logger"].startswith("librdkafka")]
    assert len(noise) < 60, f"{len(noise)} lines of librdkafka"


async def comes_to(fulfilled: Callable[[], bool]) -> None:
    """Asked over HTTP, however long a slow machine takes."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(fulfilled):  # noqa: ASYNC110 the same
            await asyncio.sleep(0.1)


async def answers(client: Client, status: int, path: str, body: dict[str, Any]) -> None:
    """It comes to do so by itself. A command that was given up may have been carried out."""
    async with asyncio.timeout(60):
        while (answer := await client.post(path, body))[0] != status:
            assert answer[0] in (409, 503), answer
            if answer[0] == 409:
                return
            await asyncio.sleep(0.1)


@pytest.mark.requirement("F7")
async def test_a_producer_that_failed_for_good_ends_the_process(
    own_broker: Broker, control: StandInControl, tmp_path: Path, settings: Settings
) -> None:
    made = await asyncio.to_thread(create_workspace, settings, short_id(WORKSPACE), "Test")
    gateway = GatewayProcess(own_broker.bootstrap, tmp_path, module="tests.support.gateway_process")
    gateway.start_until_ready()
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(gateway.url, made, session)
            started = time.monotonic()
            status, _, _ = await client.post("/v1/event-streams", {"name": STREAM})
            assert status == 503
            assert await asyncio.to_thread(gateway.wait, FATAL_EXIT_SECONDS) == 1
            assert time.monotonic() - started < FATAL_EXIT_SECONDS + 1
    finally:
        gateway.kill()


async def test_it_is_not_ready_before_the_broker_is_and_stops_all_the_same(tmp_path: Path) -> None:
    gateway = GatewayProcess(f"127.0.0.1:{free_port()}", tmp_path)
    gateway.start()
    async with asyncio.timeout(60):
        while "log" not in (missing := await asyncio.to_thread(gateway.missing)):  # noqa: ASYNC110 the same
            await asyncio.sleep(0.05)
    assert "control" in missing["log"]
    started = time.monotonic()
    assert await asyncio.to_thread(gateway.stop) == 0
    assert time.monotonic() - started < EXIT_SECONDS


async def test_the_development_workspace_is_made_once(control: StandInControl, settings: Settings) -> None:
    first = await asyncio.to_thread(ensure_development_workspace, settings)
    again = await asyncio.to_thread(ensure_development_workspace, settings)
    assert first == again
    assert list(first)[:4] == ["workspace_id", "live_key", "test_key", "publishable_key"]
    assert set(first) == {"workspace_id", *(f"{key.name}_key" for key in FIRST_KEYS)}
    assert first["workspace_id"] == development_workspace_id(settings.master_key)
    assert [first[name][:14] for name in ("live_key", "test_key", "publishable_key")] == [
        *("atlas_live_sk_", "atlas_test_sk_", "atlas_live_pk_")
    ]
    assert development_workspace_id(secrets.token_bytes(32)) != first["workspace_id"]


async def test_a_workspace_is_made_from_the_command_line(control: StandInControl, settings: Settings) -> None:
    env = {"ATLAS_HOME": str(settings.home), "ATLAS_KAFKA": settings.kafka}
    arguments = ["workspace", "create", "--name", "Acme", "--id", "org_acme"]
    made = await asyncio.to_thread(CliRunner().invoke, atlas, arguments, env=env)
    assert made.exit_code == 0, made.output
    shown = json.loads(made.stdout)
    assert shown["workspace_id"] == "org_acme" and shown["live_key"].startswith("atlas_live_sk_")
    refused = await asyncio.to_thread(CliRunner().invoke, atlas, [*arguments[:-1], "org/acme"], env=env)
    assert refused.exit_code == 2 and "--id" in refused.output
