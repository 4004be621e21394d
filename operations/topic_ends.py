"""Where the partitions of a topic begin and end now, asked of the brokers.

librdkafka's AdminClient does not get over an election by itself: it keeps the leader epochs that it once learned, and
what it asks with them is answered FENCED_LEADER_EPOCH (after an election) or UNKNOWN_LEADER_EPOCH (the topic was made
again) for as long as it lives (confluent-kafka 2.16.1). Asking for the topic's metadata first makes it learn them anew,
so each question begins with that. Replacing the client would do as well, but a client that failed is kept alive by its
exception's traceback and destroyed by whichever thread collects the garbage.

Nor does it say when a broker has not answered in time: it then gives the offset -1001, which no partition has.
"""

import time
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from operations.kafka_clients import admin_config

TIMEOUT_SECONDS = 2.0
SHORTEST_SECONDS = 0.1
Offsets = dict[int, int]
"""By partition."""


class Span(NamedTuple):
    """`first`: the oldest offset there is; `end`: the one behind the newest that is not in an open transaction."""

    first: int
    end: int


class TopicEnds:
    """Blocking: call it in a thread. Any number of threads may."""

    def __init__(self, bootstrap: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._admin = AdminClient(admin_config(bootstrap))

    def ends(self, topic: str) -> Offsets:
        """The end of each partition. Raises KafkaException, also where there is no such topic."""
        (ends,) = self._asked(topic, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return ends

    def spans(self, topic: str) -> dict[int, Span]:
        """The same with the beginnings."""
        firsts, ends = self._asked(topic, OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {partition: Span(first, ends[partition]) for partition, first in firsts.items()}

    def _asked(self, topic: str, *which: OffsetSpec) -> list[Offsets]:
        """All of them at once."""
        deadline = time.monotonic() + self._timeout_seconds
        found = self._admin.list_topics(topic, timeout=self._timeout_seconds).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        left_seconds = max(SHORTEST_SECONDS, deadline - time.monotonic())
        asked = [
            self._admin.list_offsets(
                {TopicPartition(topic, partition): one for partition in found.partitions},
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=left_seconds,
            )
            for one in which
        ]
        return [_offsets(answers) for answers in asked]


def _offsets(asked: dict[TopicPartition, Future[Any]]) -> Offsets:
    offsets = {place.partition: future.result().offset for place, future in asked.items()}
    if any(offset < 0 for offset in offsets.values()):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "a broker did not answer in time"))
    return offsets
