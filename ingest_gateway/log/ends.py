"""Where topics end now: so that a read can wait for all that stands on one, whoever wrote it."""

import asyncio
import logging
from collections.abc import Collection
from typing import NamedTuple

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from operations.kafka_clients import connection

TIMEOUT_SECONDS = 2.0
MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
Partition = tuple[str, int]


class EndsUnknown(Exception):
    """The broker did not say."""


class Ends(NamedTuple):
    """Of a partition. `stable`: up to where it can be read, the last stable offset; `high`: where it ends. What stands
    between waits for a transaction that is still open.
    """

    stable: int
    high: int


class LogEnds:
    def __init__(self, bootstrap: str) -> None:
        own = {"reconnect.backoff.max.ms": 1_000, "log.connection.close": False, "logger": logging.getLogger(__name__)}
        self._admin = AdminClient(connection(bootstrap) | own)
        self._partitions: dict[str, list[int]] = {}

    async def newest(self, topic: str) -> list[tuple[str, int, int]]:
        """Topic, partition and offset of the newest record of each partition that has one. Raises EndsUnknown."""
        try:
            return await asyncio.to_thread(self._newest, topic)
        except KafkaException as error:
            raise EndsUnknown(str(error)) from error

    async def ends(self, partitions: Collection[Partition]) -> dict[Partition, Ends]:
        """Of those that are there. Raises EndsUnknown."""
        try:
            return await asyncio.to_thread(self._ends, partitions)
        except KafkaException as error:
            raise EndsUnknown(str(error)) from error

    def _newest(self, topic: str) -> list[tuple[str, int, int]]:
        if topic not in self._partitions:
            found = self._admin.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic]
            self._partitions[topic] = sorted(found.partitions)
        partitions = [(topic, partition) for partition in self._partitions[topic]]
        firsts = self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return [(*tp, end - 1) for tp, end in ends.items() if end > firsts.get(tp, end)]

    def _ends(self, partitions: Collection[Partition]) -> dict[Partition, Ends]:
        """High first: what is appended between the two questions must not look as if it could not be read."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        high = self._offsets(partitions, latest, IsolationLevel.READ_UNCOMMITTED)
        stable = self._offsets(partitions, latest)
        return {tp: Ends(min(stable[tp], end), end) for tp, end in high.items() if tp in stable}

    def _offsets(
        self,
        partitions: Collection[Partition],
        which: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[Partition, int]:
        wanted = {TopicPartition(*partition): which for partition in partitions}
        asked = self._admin.list_offsets(wanted, isolation_level=isolation, request_timeout=TIMEOUT_SECONDS)
        found = {}
        for partition, future in asked.items():
            try:
                found[partition.topic, partition.partition] = future.result().offset
            except KafkaException as error:
                if error.args[0].code() not in MISSING:
                    raise
        return found
