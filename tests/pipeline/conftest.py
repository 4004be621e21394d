"""A broker that tests may hurt, one after the other: each finds it running again."""

from collections.abc import Iterator

import pytest

from deploy.local.broker import Broker
from tests.support.brokers import a_broker


@pytest.fixture(scope="package")
def broker_to_hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = a_broker(tmp_path_factory.mktemp("hurt") / "broker")
    yield broker
    broker.kill()


@pytest.fixture
def hurt_broker(broker_to_hurt: Broker) -> Broker:
    """A running broker that may be killed, paused, stopped and started. It has the topics of tests before: make new
    ones. Who needs an empty broker, or changes its files, takes `own_broker`.
    """
    broker_to_hurt.resume()
    broker_to_hurt.start()
    return broker_to_hurt
