"""Two gateways' buckets and the real `python -m processors control` between them, over a real broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from deploy.local.broker import Broker
from domain.limits.quotas import EVENTS, WHOLE_PPM
from ingest_gateway.limits.buckets import NS_PER_SECOND
from ingest_gateway.limits.enforcement import limiter_of
from ingest_gateway.limits.exchange import QuotaExchange
from ingest_gateway.limits.limiter import Limiter
from ingest_gateway.limits.tiers import TierRefused, change_limit, limits_of
from ingest_gateway.log.bootstrap import ask_for_workspace
from ingest_gateway.log.clients import log_clients
from operations.random_ids import short_id
from operations.settings import Settings
from operations.topic_admin import ensure_topics
from schemas.commands.limits import ClearLimit, SetLimit
from schemas.ids import WORKSPACE
from schemas.records import Usage
from schemas.topics import Topic, base_topics
from tests.support.brokers import a_broker
from tests.support.kafka_topics import produce, read_all
from tests.support.processor import Processor

PARTITIONS = 4
MOST_OF_IT_PPM = 850_000  # of nine in ten, less what chance and the even part take
GIVE_UP_SECONDS = 60.0
RAISE = SetLimit(rate_class="events", burst=1000, per_minute=6000)
CLEAR = ClearLimit(rate_class="events")


class Client:
    """As much of a gateway as has to do with limits."""

    def __init__(self, name: str, limiter: Limiter, workspace: str) -> None:
        self.name = name
        self.limiter = limiter
        self.workspace = workspace
        self.accepted = self.refused = 0
        self.share_ppm = WHOLE_PPM

    def ask(self) -> None:
        granted, entry = self.limiter.take(EVENTS, self.workspace, "live", time.monotonic_ns())
        self.accepted += granted
        self.refused += not granted
        self.share_ppm = entry.bucket.terms.share_ppm


@asynccontextmanager
async def a_client(bootstrap: str, name: str, workspace: str) -> AsyncIterator[Client]:
    limiter = Limiter(name, lambda *_place: EVENTS.quota)
    exchange = QuotaExchange(bootstrap, limiter, PARTITIONS)
    exchange.start()
    try:
        yield Client(name, limiter, workspace)
    finally:
        await exchange.stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = a_broker(tmp_path_factory.mktemp("shares-broker"))
    broker.start()
    ensure_topics(broker.bootstrap, base_topics(PARTITIONS))
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shares-home")


@pytest.fixture(scope="module")
def control(broker: Broker, home: Path) -> Iterator[Processor]:
    control = Processor("control", broker.bootstrap, home, ATLAS_PARTITIONS=str(PARTITIONS))
    yield control.start()
    control.stop()


async def load(often: Client, seldom: Client) -> None:
    """Nine requests to one, far above the quota, until the allocations have followed."""
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while not MOST_OF_IT_PPM <= often.share_ppm < WHOLE_PPM or seldom.share_ppm >= often.share_ppm:
            for _ in range(9):
                often.ask()
            seldom.ask()
            await asyncio.sleep(0.02)


async def until_known(clients: list[Client]) -> None:
    for client in clients:
        await until_count(client, len(clients))


async def until_count(client: Client, gateways: int) -> None:
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while client.limiter.gateways != gateways:  # noqa: ASYNC110 no event to wait for
            await asyncio.sleep(0.02)


def report_as_started(broker: Broker, gateway: str) -> None:
    """What a gateway reports when it starts, to every partition."""
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for partition in range(PARTITIONS):
        producer.produce(Topic.USAGE, Usage(gateway=gateway).encode(), b"", partition)
    assert producer.flush(GIVE_UP_SECONDS) == 0


@pytest.mark.requirement("A-078", "A-079")
async def test_shares_follow_the_load_and_add_up_to_one_bucket(broker: Broker, control: Processor) -> None:
    workspace = short_id(WORKSPACE)
    produce(broker.bootstrap, Topic.USAGE, b"no report")
    async with (
        a_client(broker.bootstrap, "one", workspace) as one,
        a_client(broker.bootstrap, "two", workspace) as two,
    ):
        await until_known([one, two])
        began_ns = time.monotonic_ns()
        await load(one, two)
        assert two.share_ppm < WHOLE_PPM // 2
        await load(two, one)
        assert one.share_ppm < WHOLE_PPM // 2
        drained = EVENTS.quota.per_minute * (time.monotonic_ns() - began_ns) / (60 * NS_PER_SECOND)
        assert one.refused and two.refused
        assert one.accepted + two.accepted <= 2 * EVENTS.quota.burst + drained  # one burst, and one above it at most
    assert control.metric("atlas_rate_deals_total") > 0
    assert len([record for record in read_all(broker.bootstrap, Topic.DEAD_LETTERS) if record.key == b"usage"]) == 1


@pytest.mark.requirement("A-078")
async def test_a_gateway_that_leaves_or_dies_leaves_its_share(broker: Broker, control: Processor) -> None:
    workspace = short_id(WORKSPACE)
    async with a_client(broker.bootstrap, "stays", workspace) as stays:
        async with a_client(broker.bootstrap, "leaves", workspace) as leaves:
            await until_known([stays, leaves])
        await until_known([stays])
        report_as_started(broker, "dies")  # the last report of a gateway that is killed: it doesn't say that it leaves
        await until_count(stays, 2)
        await until_known([stays])
        stays.ask()
        assert stays.share_ppm == WHOLE_PPM


@pytest.mark.requirement("A-082")
async def test_a_tier_is_set_and_cleared_while_everything_runs(broker: Broker, control: Processor, home: Path) -> None:
    settings = Settings.from_env({"ATLAS_HOME": str(home), "ATLAS_KAFKA": broker.bootstrap})
    workspace = short_id(WORKSPACE)
    async with log_clients(settings) as clients:
        await clients.ready()
        await ask_for_workspace(clients, settings.master_key, workspace, "Acme")
        limiter = limiter_of(clients.control.view, {}, "gateway")
        for payload, limit_text in ((RAISE, "1000"), (CLEAR, "200")):
            await change_limit(clients, workspace, "live", payload)
            await clients.control.catch_up(GIVE_UP_SECONDS)
            _granted, entry = limiter.take(EVENTS, workspace, "live", time.monotonic_ns())
            assert entry.limit_text == limit_text
            assert len(limits_of(clients, workspace)) == (payload is not CLEAR)
        with pytest.raises(TierRefused, match="There is no workspace"):
            await change_limit(clients, "ws_nobody", "live", CLEAR)


async def test_without_processors_the_last_allocation_holds_and_they_take_up_again(
    broker: Broker, control: Processor
) -> None:
    workspace = short_id(WORKSPACE)
    async with (
        a_client(broker.bootstrap, "one", workspace) as one,
        a_client(broker.bootstrap, "two", workspace) as two,
    ):
        await until_known([one, two])
        await load(one, two)
        control.kill()
        for _ in range(50):
            one.ask()
            two.ask()
            await asyncio.sleep(0.02)
        assert one.share_ppm > two.share_ppm
        control.start()
        await load(two, one)
        assert two.share_ppm > one.share_ppm
