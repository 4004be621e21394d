"""The producer of Kafka routes fails for good, as librdkafka#3584 ends: the next attempt has one that lives."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from domain.delivery.decide import Failed, TopicWritten
from processors.delivery.route_topics import TopicRecord, TopicWriter
from schemas.topics import RouteTopic

TOPIC = RouteTopic("ws_1", "live", "orders")
RECORD = TopicRecord(b"key", b"{}", [])


class Standing:
    """What a producer does that a TopicWriter asks of it, with one answer to every record."""

    def __init__(self, error: KafkaError | None) -> None:
        self._error = error
        self._reports: list[Callable[[KafkaError | None, object], None]] = []
        self._lock = threading.Lock()

    def produce(self, *_record: object, on_delivery: Any, headers: object) -> None:
        with self._lock:
            self._reports.append(on_delivery)

    def poll(self, _timeout: float) -> int:
        time.sleep(0.001)
        with self._lock:
            reports, self._reports = self._reports, []
        for report in reports:
            report(self._error, SimpleNamespace(offset=lambda: 7))
        return len(reports)

    def __len__(self) -> int:
        return len(self._reports)


@pytest.mark.requirement("F7")
async def test_a_producer_that_failed_for_good_is_replaced_once() -> None:
    dead = KafkaError(KafkaError._FATAL, "out of order sequence number", fatal=True)
    answers: list[KafkaError | None] = [dead, None]
    made: list[Standing] = []

    def make(_config: object) -> Any:
        made.append(Standing(answers[len(made)]))
        return made[-1]

    writer = TopicWriter("127.0.0.1:1", 8, 5.0, make_producer=make)
    try:
        assert isinstance(await writer.write(TOPIC, RECORD), Failed)
        assert isinstance(await writer.write(TOPIC, RECORD), TopicWritten)
        assert isinstance(await writer.write(TOPIC, RECORD), TopicWritten)
        assert len(made) == 2
    finally:
        await writer.close()


async def test_what_one_record_met_is_no_reason_for_another_producer() -> None:
    made: list[Standing] = []

    def make(_config: object) -> Any:
        made.append(Standing(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)))
        return made[-1]

    writer = TopicWriter("127.0.0.1:1", 8, 5.0, make_producer=make)
    try:
        for _ in range(3):
            assert isinstance(await writer.write(TOPIC, RECORD), Failed)
        assert len(made) == 1
    finally:
        await writer.close()
