"""One broker for the tests of delivery, since a delivery process takes every delivery of its group."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.broker import Broker
from tests.support.brokers import a_broker
from tests.support.delivery_tenant import Tenant
from tests.support.kafka_topics import ensure_base_topics
from tests.support.processor import Processor
from tests.support.receiver import Receiver


@pytest.fixture(scope="package")
def delivery_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = a_broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    ensure_base_topics(broker.bootstrap)
    yield broker
    broker.kill()


@pytest.fixture
def broker(delivery_broker: Broker) -> str:
    return delivery_broker.bootstrap


@pytest.fixture
def tenant(broker: str) -> Iterator[Tenant]:
    tenant = Tenant(broker)
    yield tenant
    tenant.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def start(broker: str, home: Path) -> Iterator[Callable[..., Processor]]:
    """Starts delivery processes and leaves none behind."""
    started: list[Processor] = []

    def one(**settings: str) -> Processor:
        settings = {"ATLAS_ALLOW_PRIVATE_TARGETS": "1", "ATLAS_ATTEMPT_TIMEOUT_SECONDS": "30"} | settings
        processor = Processor("delivery", broker, home, **settings)
        started.append(processor)
        return processor.start()

    yield one
    for processor in started:
        processor.leave()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver
