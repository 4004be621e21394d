"""Records are read though the broker that is asked first has not heard of their topic."""

import secrets
import time
from types import SimpleNamespace
from typing import cast

from confluent_kafka import Consumer, KafkaError

from operations.gone_topics import is_gone
from operations.record_reader import _Reading
from tests.support.kafka_topics import a_stream_topic

BROKERS = {number: f"broker {number}" for number in range(3)}


class Behind:
    """A consumer whose broker, one of three, knows of no topics."""

    def list_topics(self, topic: str, timeout: float) -> SimpleNamespace:
        unknown = SimpleNamespace(error=KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        return SimpleNamespace(topics={topic: unknown}, brokers=BROKERS)


def test_the_word_of_one_broker_is_compared_with_that_of_all(kafka: str) -> None:
    there, gone = a_stream_topic(kafka), f"gone-{secrets.token_hex(4)}"
    assert not is_gone(kafka, there, 20.0) and is_gone(kafka, gone, 20.0)
    reading, deadline = _Reading(cast(Consumer, Behind()), True, kafka), time.monotonic() + 20.0
    assert reading.gone({there, gone}, deadline) == {gone}
