"""Streams that come and go while admission runs: it follows them without giving up what it has, and commits on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.local.broker import Broker
from deploy.local.spawn import wait_until
from operations.topic_admin import TopicAdmin
from schemas.topics import Topic
from tests.pipeline.admission.conftest import MakeStream, Written
from tests.support.kafka_topics import PARTITIONS, TIMEOUT_SECONDS, committed_offsets, ensure_base_topics, produce
from tests.support.ports import free_port
from tests.support.streams import LiveStream
from tests.support.worker import Worker

REBALANCES = "atlas_rebalances_total"
FORGOTTEN_SECONDS = 150.0


def send(stream: LiveStream, count: int, word: str = "") -> None:
    writer = stream.writer()
    for number in range(count):
        writer.send_as_gateway(data={"n": number, "word": word})
    writer.flush()
    assert writer.errors == []


def until_committed(broker: str, stream: LiveStream, records: int) -> None:
    assert wait_until(
        lambda: sum(committed_offsets(broker, "admission", stream.name).values()) == records, TIMEOUT_SECONDS
    )


@pytest.mark.requirement("F17", "F32")
def test_a_new_stream_is_followed_without_a_rebalance(
    admission: Worker, a_stream: MakeStream, written: Written, broker: str
) -> None:
    """Also with records from before anybody knew of it; and what is handled is committed."""
    before = admission.metric(REBALANCES)
    streams = [a_stream(f"new-{number}", announce=number % 2 == 0) for number in range(4)]
    for stream in streams:
        send(stream, 20)
        stream.announce()
    for stream in streams:
        assert {decision.outcome for decision in written.decisions(stream, 20)} == {"admitted"}
        until_committed(broker, stream, 20)
    assert admission.metric(REBALANCES) == before
    assert admission.missing() == {}


async def delete(broker: str, stream: LiveStream) -> None:
    topics = TopicAdmin(broker)
    topic_id = await topics.topic_id(stream.name)
    assert topic_id is not None
    await topics.delete_topic(stream.name, topic_id)


@pytest.mark.requirement("F10")
def test_a_topic_that_goes_holds_nobody_up_and_one_of_its_name_is_read_from_its_start(
    admission: Worker, a_stream: MakeStream, written: Written, broker: str
) -> None:
    goes, stays = a_stream("goes"), a_stream("stays")
    for stream in (goes, stays):
        send(stream, 20)
        written.decisions(stream, 20)
    asyncio.run(delete(broker, goes))
    send(stays, 20, "after")
    written.decisions(stays, 40)
    until_committed(broker, stays, 40)

    produce(broker, Topic.CONTROL, None, key=goes.entity.to_entity().key)
    again = a_stream("goes", workspace=goes.topic.workspace)
    send(again, 10, "of the new one")
    decisions = written.decisions(again, 30)
    assert {decision.outcome for decision in decisions[20:]} == {"admitted"}
    until_committed(broker, again, 10)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_it_goes_on_where_an_older_version_stood_that_subscribed_to_each_stream(
    admission: Worker, a_stream: MakeStream, written: Written, broker: str
) -> None:
    """Offsets stand in the same group under the same names."""
    assert admission.stop() == 0
    stream = a_stream()
    send(stream, 40, "before")
    ends = stream_ends(broker, stream)
    client = AdminClient({"bootstrap.servers": broker})
    older = ConsumerGroupTopicPartitions("admission", ends)
    client.alter_consumer_group_offsets([older])["admission"].result(TIMEOUT_SECONDS)
    send(stream, 40, "after")
    admission.start_until_ready()
    decisions = written.decisions(stream, 40)
    until_committed(broker, stream, 80)
    written.read_on()
    assert len(written.decisions(stream, 40)) == 40
    first = {end.partition: end.offset for end in ends}
    assert all(decision.offset >= first[decision.partition] for decision in decisions)


def stream_ends(broker: str, stream: LiveStream) -> list[TopicPartition]:
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "looks"})
    partitions = [TopicPartition(stream.name, partition) for partition in range(PARTITIONS)]
    found = [(tp, consumer.get_watermark_offsets(tp, TIMEOUT_SECONDS)[1]) for tp in partitions]
    consumer.close()
    return [TopicPartition(tp.topic, tp.partition, end) for tp, end in found]


class ForgetfulBroker(Broker):
    """Offsets of topics that a group has not subscribed to are forgotten a minute after they were committed, not a week
    after."""

    def prepare(self) -> None:
        super().prepare()
        with self._properties.open("a") as properties:
            properties.write("\noffsets.retention.minutes=1\noffsets.retention.check.interval.ms=1000\n")


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Broker]:
    broker = ForgetfulBroker(tmp_path / "broker", free_port(), free_port(), heap_mb=256)
    broker.start()
    ensure_base_topics(broker.bootstrap)
    yield broker
    broker.kill()


@pytest.fixture
def keeping(forgetful: Broker, tmp_path: Path) -> Iterator[Worker]:
    worker = Worker("admission", forgetful.bootstrap, tmp_path / "home", module="tests.support.keeping_worker")
    yield worker
    if worker.runs:
        worker.kill()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("keep_seconds", [5, 3_600], ids=["committed again", "left alone"])
def test_a_silent_streams_offsets_are_kept_by_committing_them_again(
    forgetful: Broker, keeping: Worker, tmp_path: Path, keep_seconds: int
) -> None:
    """The group lives all the while. What is left alone is forgotten: a later start would read all of it again."""
    broker = forgetful
    keeping.set(KEEP_OFFSETS_SECONDS=str(keep_seconds))
    keeping.start_until_ready()
    stream = LiveStream(broker.bootstrap, bytes.fromhex((tmp_path / "home" / "master.key").read_text().strip()))
    send(stream, 40)
    until_committed(broker.bootstrap, stream, 40)
    forgotten = wait_until(
        lambda: sum(committed_offsets(broker.bootstrap, "admission", stream.name).values()) < 40, FORGOTTEN_SECONDS
    )
    assert forgotten == (keep_seconds == 3_600)
    assert keeping.runs
