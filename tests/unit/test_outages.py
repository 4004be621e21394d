"""What goes unanswered for long is a few lines of the log, however often it is asked."""

import logging

import pytest
from confluent_kafka import KafkaError, KafkaException

from operations.outages import Outage

log = logging.getLogger("tests.outages")


def failure(code: int, text: str) -> KafkaException:
    return KafkaException(KafkaError(code, text))


@pytest.mark.requirement("F39")
def test_an_outage_is_a_line_for_its_begin_for_each_new_reason_and_for_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_seconds = [100.0]
    outage = Outage(log, "control", lambda: now_seconds[0])
    with caplog.at_level(logging.INFO, log.name):
        outage.answered()
        for tries in range(1_000):
            now_seconds[0] += 0.2
            refused = failure(KafkaError._TRANSPORT, f"refused, after {tries} ms")
            outage.failed(refused if tries % 2 else failure(KafkaError._ALL_BROKERS_DOWN, "all are down"))
        outage.answered()
        outage.answered()
        outage.failed(failure(KafkaError._TRANSPORT, "refused"))
    assert [(line.getMessage(), line.levelname, line.facts) for line in caplog.records] == [  # type: ignore[attr-defined]
        ("control.unreachable", "WARNING", {"error": "all are down"}),
        ("control.unreachable", "WARNING", {"error": "refused, after 1 ms"}),
        ("control.reachable", "INFO", {"seconds": 199.8, "tries": 1_000}),
        ("control.unreachable", "WARNING", {"error": "refused"}),
    ]
