"""The local broker: it serves when `start` returns, and what it acknowledged outlives a stop and a kill."""

import subprocess
import sys

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from deploy.local.broker import Broker, BrokerFailed, serving_cluster
from operations.kafka_clients import producer_config, reader_config
from tests.support.shared_broker import ROOT


def append(bootstrap: str, topic: str, value: bytes) -> None:
    reports: list[object] = []
    producer = Producer(producer_config(bootstrap))
    producer.produce(topic, value, partition=0, on_delivery=lambda error, _message: reports.append(error))
    producer.flush(20)
    assert reports == [None]


def read(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer(reader_config(bootstrap, "test"))
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return [message.value() for message in consumer.consume(count, timeout=20)]
    finally:
        consumer.close()


def create_topic(bootstrap: str, topic: str) -> None:
    client = AdminClient({"bootstrap.servers": bootstrap})
    client.create_topics([NewTopic(topic, 1)])[topic].result(20)


@pytest.mark.requirement("F1")
def test_acknowledged_records_outlive_a_stop_and_a_kill(hurt_broker: Broker) -> None:
    create_topic(hurt_broker.bootstrap, "kept")
    append(hurt_broker.bootstrap, "kept", b"before the stop")
    hurt_broker.stop()
    assert hurt_broker.pid is None and not hurt_broker.serves()
    hurt_broker.start()
    append(hurt_broker.bootstrap, "kept", b"before the kill")
    hurt_broker.kill()
    hurt_broker.start()
    assert read(hurt_broker.bootstrap, "kept", 2) == [b"before the stop", b"before the kill"]


def test_a_paused_broker_answers_nothing_and_goes_on_when_resumed(hurt_broker: Broker) -> None:
    hurt_broker.pause()
    assert not hurt_broker.serves()
    hurt_broker.resume()
    hurt_broker.wait_until_serving()


def test_a_broker_that_cannot_start_says_why_with_its_last_lines(hurt_broker: Broker) -> None:
    twin = Broker(hurt_broker.home.with_name("twin"), hurt_broker.port, hurt_broker.controller_port, heap_mb=256)
    try:
        with pytest.raises(BrokerFailed, match=r"ended:(.|\n)*Address already in use"):
            twin.start()
    finally:
        twin.kill()


def test_all_tests_of_a_run_share_one_broker(kafka: str) -> None:
    """Another process of the run asks as a worker of xdist does, and is given the broker that this one has."""
    asks = "from tests.support.shared_broker import of_this_run; print(of_this_run(), end='')"
    given = subprocess.run([sys.executable, "-c", asks], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert given == kafka
    assert serving_cluster(kafka, timeout_seconds=5)


def test_a_misspelt_topic_is_not_created(kafka: str) -> None:
    client = AdminClient({"bootstrap.servers": kafka})
    client.list_topics("no-such-topic", timeout=10)
    assert "no-such-topic" not in client.list_topics(timeout=10).topics
