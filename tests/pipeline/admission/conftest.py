"""A broker, one running admission process and a reader of what it writes, for all tests of this package.

The group `admission` is one a broker, so the shared broker will not do. A test may kill or stop the process: the next
one that asks for it gets it running again, with the table it had.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from operations.settings import ensure_master_key
from schemas.records import DeadLetter, Decision, Delivery, Verdict
from schemas.topics import Topic
from tests.support.brokers import a_broker
from tests.support.kafka_topics import Stored, ensure_base_topics
from tests.support.log_tail import LogTail
from tests.support.streams import LiveStream
from tests.support.worker import Worker


class Written:
    """What admission wrote, by whom it is about; each question reads on first."""

    def __init__(self, bootstrap: str) -> None:
        self._tails = {
            topic: LogTail(bootstrap, topic)
            for topic in (Topic.DECISIONS, Topic.DELIVERIES, Topic.VERDICTS, Topic.DEAD_LETTERS, Topic.ADMISSION)
        }
        self._decoded: dict[Topic, list[Any]] = {topic: [] for topic in self._tails}

    def decisions(self, stream: LiveStream, count: int) -> list[Decision]:
        """In the order written, once there are `count` of this stream's topic. Raises when there never are."""
        found: list[Decision] = self._about(Topic.DECISIONS, Decision, lambda d: d.topic == stream.name, count)
        return found

    def dead_letters(self, stream: LiveStream, count: int) -> list[DeadLetter]:
        found: list[DeadLetter] = self._about(Topic.DEAD_LETTERS, DeadLetter, lambda d: d.topic == stream.name, count)
        return found

    def deliveries(self, stream: LiveStream, count: int) -> list[Delivery]:
        mine = stream.topic.workspace
        found: list[Delivery] = self._about(Topic.DELIVERIES, Delivery, lambda d: d.workspace == mine, count)
        return found

    def distinct_deliveries(self, stream: LiveStream, count: int) -> set[bytes]:
        """As bytes, once there are `count` different ones. After a kill some are made again, and are the same."""
        records = count
        while True:
            made = self.deliveries(stream, records)
            distinct = {delivery.encode() for delivery in made}
            if len(distinct) >= count:
                return distinct
            records = len(made) + count - len(distinct)

    def verdicts(self, correlations: set[bytes], count: int) -> list[Verdict]:
        found: list[Verdict] = self._about(Topic.VERDICTS, Verdict, lambda v: v.correlation in correlations, count)
        return found

    def rerouted(self, value: bytes, count: int) -> list[Stored]:
        tail = self._tails[Topic.ADMISSION]
        found: list[Stored] = []

        def enough() -> bool:
            found[:] = [record for record in tail.records if record.value == value]
            return len(found) >= count

        tail.until(enough)
        return found

    def read_on(self) -> int:
        """All that is there now; how many records."""
        return sum(tail.read_on() for tail in self._tails.values())

    def close(self) -> None:
        for tail in self._tails.values():
            tail.close()

    def _about(self, topic: Topic, kind: Any, is_mine: Callable[[Any], bool], count: int) -> list[Any]:
        tail, decoded = self._tails[topic], self._decoded[topic]

        def enough() -> bool:
            decoded.extend(kind.decode(record.value) for record in tail.records[len(decoded) :])
            return sum(map(is_mine, decoded)) >= count

        while tail.read_on() and not (count and enough()):  # under load there is always more
            pass
        tail.until(enough)
        return [record for record in decoded if is_mine(record)]


@pytest.fixture(scope="package")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    broker = a_broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    ensure_base_topics(broker.bootstrap)
    yield broker.bootstrap
    broker.kill()


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("admission")


@pytest.fixture(scope="package")
def process(broker: str, home: Path) -> Iterator[Worker]:
    worker = Worker("admission", broker, home)
    yield worker
    if worker.runs:
        worker.kill()


@pytest.fixture
def admission(process: Worker) -> Worker:
    """The running process."""
    if not process.runs:
        process.start_until_ready()
    return process


@pytest.fixture(scope="package")
def written(broker: str) -> Iterator[Written]:
    written = Written(broker)
    yield written
    written.close()


MakeStream = Callable[..., LiveStream]


@pytest.fixture
def a_stream(broker: str, home: Path) -> MakeStream:
    """Makes streams of workspaces of their own."""
    master_key = ensure_master_key(home)

    def make(name: str = "orders", **options: Any) -> LiveStream:
        return LiveStream(broker, master_key, name, **options)

    return make
