"""Three brokers whose leaders move away and back under a gateway, and one that dies: it answers, and is not noisy."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException

from deploy.local.spawn import wait_until
from operations.settings import Settings
from operations.topic_admin import TopicAdmin
from operations.topic_ends import TopicEnds
from schemas.topics import Topic
from tests.pipeline.test_gateway_process import NOW, Client, a_client, answers, comes_to
from tests.support.control_stand_in import control_stand_in
from tests.support.events import an_event
from tests.support.gateway_process import GatewayProcess
from tests.support.kafka_topics import PARTITIONS, a_stream_topic, ensure_base_topics
from tests.support.three_brokers import ThreeBrokers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

QUIET_LINES_MAX = 60
"""Of librdkafka, through all of it; a dead broker alone made 2,118 a minute."""


@pytest.fixture
async def running(three_brokers: ThreeBrokers, tmp_path: Path) -> AsyncIterator[tuple[GatewayProcess, Client]]:
    bootstrap = three_brokers.bootstrap
    ensure_base_topics(bootstrap)
    settings = Settings.from_env({"ATLAS_HOME": str(tmp_path), "ATLAS_KAFKA": bootstrap, "ATLAS_MASTER_KEY": "ab" * 32})
    gateway = GatewayProcess(bootstrap, tmp_path, ATLAS_RATE_LIMITS="off", ATLAS_MASTER_KEY="ab" * 32)
    try:
        async with control_stand_in(bootstrap, settings.master_key):
            await asyncio.to_thread(gateway.start_until_ready)
            async with a_client(gateway, settings) as client:
                yield gateway, client
    finally:
        gateway.kill()


async def all_is_right(gateway: GatewayProcess, client: Client, name: str) -> None:
    await answers(client, 201, "/v1/event-streams", {"name": name})
    await answers(client, 404, "/v1/events", an_event(stream="no-such-stream", occurred_at=NOW))
    await answers(client, 202, "/v1/events", an_event(stream=name, occurred_at=NOW))
    await comes_to(lambda: gateway.readyz() == {"status": "ready"})


@pytest.mark.requirement("F1", "F39")
async def test_leaders_that_move_away_and_back_are_followed(
    three_brokers: ThreeBrokers, running: tuple[GatewayProcess, Client]
) -> None:
    gateway, client = running
    partitions = [(Topic.CONTROL, 0), *((Topic.COMMANDS, partition) for partition in range(PARTITIONS))]
    homes = {place: three_brokers.leader_of(*place) for place in partitions}
    for turn in range(2):
        for away in (1, 0):
            for place, home in homes.items():
                assert home is not None
                await asyncio.to_thread(three_brokers.lead, (home + away) % 3, *place)
            await all_is_right(gateway, client, f"moved-{turn}-{away}")
    dead = homes[Topic.CONTROL, 0]
    assert dead is not None
    await asyncio.to_thread(three_brokers.kill, dead)
    await all_is_right(gateway, client, "one-is-dead")
    await asyncio.sleep(30)  # of noise, to be counted
    await asyncio.to_thread(three_brokers.start, dead)
    await all_is_right(gateway, client, "it-is-back")
    noise = [line for line in lines(gateway) if line["logger"].startswith("librdkafka")]
    print(f"{len(noise)} lines of librdkafka, {sum(line.get('suppressed', 0) for line in noise)} left out")
    assert len(noise) < QUIET_LINES_MAX, [line["message"] for line in noise]


@pytest.mark.requirement("F1")
def test_ends_are_known_again_when_a_dead_leader_is_replaced(three_brokers: ThreeBrokers) -> None:
    """Who asks the dead one is told nothing at all, not even that it is dead."""
    topic = a_stream_topic(three_brokers.bootstrap, partitions=3)
    partitions = [(topic, partition) for partition in range(3)]
    ends = TopicEnds(three_brokers.bootstrap)
    known = ends.ranges(partitions)
    assert set(known) == set(partitions)
    dead = three_brokers.leader_of(topic, 0)
    assert dead is not None
    three_brokers.kill(dead)

    def known_again() -> bool:
        try:
            return ends.ranges(partitions) == known and set(ends.readable(partitions)) == set(partitions)
        except KafkaException:
            return False

    assert wait_until(known_again, 60)


@pytest.mark.requirement("F1")
async def test_topics_are_described_and_made_though_the_controller_that_was_known_is_dead(
    three_brokers: ThreeBrokers,
) -> None:
    topic, admin = a_stream_topic(three_brokers.bootstrap, partitions=3), TopicAdmin(three_brokers.bootstrap, 4.0)
    topic_id = await admin.topic_id(topic)
    assert topic_id is not None
    known = admin._admin.metadata().controller_id - 1
    await asyncio.to_thread(three_brokers.kill, known)
    answered: list[str | None] = []
    async with asyncio.timeout(60):
        while not answered:
            try:
                answered.append(await admin.topic_id(topic))
            except KafkaException:
                await asyncio.sleep(0.1)
    assert answered == [topic_id]


def lines(gateway: GatewayProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gateway.log.read_text().splitlines()]
