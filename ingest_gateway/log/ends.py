"""Where topics end now: so that a read can wait for all that stands on one, whoever wrote it."""

import asyncio
import logging

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from operations.kafka_clients import connection

TIMEOUT_SECONDS = 2.0


class EndsUnknown(Exception):
    """The broker did not say."""


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

    def _newest(self, topic: str) -> list[tuple[str, int, int]]:
        if topic not in self._partitions:
            found = self._admin.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic]
            self._partitions[topic] = sorted(found.partitions)
        firsts = self._offsets(topic, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = self._offsets(topic, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return [(topic, partition, end - 1) for partition, end in ends.items() if end > firsts[partition]]

    def _offsets(self, topic: str, which: OffsetSpec) -> dict[int, int]:
        wanted = {TopicPartition(topic, partition): which for partition in self._partitions[topic]}
        asked = self._admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=TIMEOUT_SECONDS
        )
        return {partition.partition: future.result().offset for partition, future in asked.items()}
