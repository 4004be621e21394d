"""The cluster of three brokers that other tests stand on: who leads, who coordinates, what a dead one changes."""

import pytest

from deploy.local.spawn import wait_until
from tests.support.kafka_topics import a_stream_topic, produce
from tests.support.three_brokers import NODES, ThreeBrokers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_leaders_move_and_a_dead_broker_is_replaced(three_brokers: ThreeBrokers) -> None:
    topic = a_stream_topic(three_brokers.bootstrap, partitions=3)
    assert three_brokers.in_sync()
    for broker in range(NODES):
        three_brokers.lead(broker, topic, 0)
        assert three_brokers.leader_of(topic, 0) == broker

    coordinator = three_brokers.coordinator_of("a-group")
    three_brokers.lead(coordinator, topic, 0)
    three_brokers.kill(coordinator)
    others = set(range(NODES)) - {coordinator}
    assert wait_until(lambda: three_brokers.leader_of(topic, 0) in others, 30)
    assert wait_until(lambda: three_brokers.coordinator_of("a-group") in others, 30)
    assert wait_until(lambda: three_brokers.controller() in others, 30)
    assert produce(three_brokers.bootstrap, topic, b"two in sync are enough", partition=0) == (0, 0)
    three_brokers.start(coordinator)
    assert wait_until(three_brokers.in_sync, 60)
