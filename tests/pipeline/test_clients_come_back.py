"""Clients that live as long as their process: elections go by, topics are made again, clusters are replaced."""

import asyncio
import logging
import shutil
import time

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from deploy.local.broker import Broker
from domain.entities.control_view import ControlView
from ingest_gateway.log.ends import EndsUnknown, LogEnds
from operations.control_reader import ControlReader
from operations.kafka_clients import admin_config
from operations.record_reader import Found, RecordReader
from operations.topic_ends import Span, TopicEnds
from schemas.topics import Topic
from tests.support.kafka_topics import ensure_base_topics, produce
from tests.support.until import until

READ_SECONDS = 20.0
TOPIC = "events.ws_1.live.orders"


def make_topic(broker: Broker, *values: bytes) -> None:
    """Made again where it is there, as when a stream's topic has expired and a stream of its name is made."""
    admin = AdminClient(admin_config(broker.bootstrap))
    if TOPIC in admin.list_topics(timeout=20).topics:
        admin.delete_topics([TOPIC])[TOPIC].result(20)
        while TOPIC in admin.list_topics(timeout=20).topics:
            time.sleep(0.05)
    admin.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result(20)
    for value in values:
        produce(broker.bootstrap, TOPIC, value, partition=0)


def elect(broker: Broker) -> None:
    """Every partition's leadership ends and comes back."""
    broker.kill()
    broker.start()


@pytest.mark.requirement("F1")
async def test_who_knew_a_topic_knows_it_after_an_election_and_when_it_was_made_again(own_broker: Broker) -> None:
    make_topic(own_broker, b"first")
    ends, of_the_log = TopicEnds(own_broker.bootstrap), LogEnds(own_broker.bootstrap)
    records = RecordReader(own_broker.bootstrap, readers=1)
    try:
        assert ends.spans(TOPIC) == {0: Span(0, 1), 1: Span(0, 0)}
        assert await of_the_log.newest(TOPIC) == [(TOPIC, 0, 0)]
        assert await records.read(TOPIC, 0, 0, READ_SECONDS) == Found(b"first")

        elect(own_broker)
        assert ends.ends(TOPIC) == {0: 1, 1: 0}, "the first time that they are asked"
        assert await of_the_log.newest(TOPIC) == [(TOPIC, 0, 0)]
        assert await records.read(TOPIC, 0, 0, READ_SECONDS) == Found(b"first")

        make_topic(own_broker, b"another", b"more")
        assert ends.ends(TOPIC) == {0: 2, 1: 0}
        assert await of_the_log.newest(TOPIC) == [(TOPIC, 0, 1)]
        assert await records.read(TOPIC, 0, 0, READ_SECONDS) == Found(b"another")
        found = await records.read_many([(TOPIC, 0, 0), (TOPIC, 0, 1)], READ_SECONDS)
        assert [one and one.value for one in found.values()] == [b"another", b"more"]
    finally:
        await records.close()


async def test_what_is_away_or_unknown_is_said_and_not_remembered(own_broker: Broker) -> None:
    ends, of_the_log = TopicEnds(own_broker.bootstrap), LogEnds(own_broker.bootstrap)
    with pytest.raises(KafkaException, match="UNKNOWN_TOPIC_OR_PART"):
        ends.ends(TOPIC)
    assert await of_the_log.newest(TOPIC) == []
    make_topic(own_broker, b"first")
    assert ends.ends(TOPIC) == {0: 1, 1: 0} and await of_the_log.newest(TOPIC) == [(TOPIC, 0, 0)]
    own_broker.pause()
    with pytest.raises(KafkaException, match="_TIMED_OUT"):
        ends.ends(TOPIC)
    with pytest.raises(EndsUnknown):
        await of_the_log.newest(TOPIC)
    own_broker.resume()
    answered: list[list[tuple[str, int, int]]] = []

    async def ask() -> None:
        while not answered:
            try:
                answered.append(await of_the_log.newest(TOPIC))
            except EndsUnknown:
                await asyncio.sleep(0.05)

    await asyncio.wait_for(ask(), 30)
    assert answered == [[(TOPIC, 0, 0)]]


@pytest.mark.slow
@pytest.mark.requirement("F39")
async def test_a_view_of_control_grows_old_once_comes_back_once_and_notices_another_cluster(
    own_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    ensure_base_topics(own_broker.bootstrap)
    for number in range(3):
        produce(own_broker.bootstrap, Topic.CONTROL, b"no entity", key=f"nobody/{number}".encode(), partition=0)
    lost: list[str] = []
    reader = ControlReader(own_broker.bootstrap, ControlView(), on_lost=lost.append)
    with caplog.at_level(logging.INFO, "operations.control_reader"):
        reader.start()
        try:
            await reader.caught_up()
            own_broker.kill()
            await until(lambda: lines(caplog, "control.behind") != [])
            own_broker.start()
            await until(lambda: reader.behind_seconds < 2)
            assert await reader.catch_up(READ_SECONDS)
            await until(lambda: lines(caplog, "control.current") != [])
            assert len(lines(caplog, "control.behind")) == len(lines(caplog, "control.current")) == 1
            told = lines(caplog, "control.behind")[0].facts  # type: ignore[attr-defined]
            assert told["behind_seconds"] > 5 and "the end of control is not known: " in told["reason"], told
            assert not lost

            own_broker.kill()
            shutil.rmtree(own_broker.home / "data")
            own_broker.start()  # where it was, with a log of its own
            ensure_base_topics(own_broker.bootstrap)
            await until(lambda: lost != [])
            assert "control is not the topic that was read: partition 0 ends at 0" in lost[0]
        finally:
            await reader.stop()


def lines(caplog: pytest.LogCaptureFixture, action: str) -> list[logging.LogRecord]:
    return [line for line in caplog.records if line.getMessage() == action]
