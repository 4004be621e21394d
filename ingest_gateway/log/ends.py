"""Where topics end now, so that a read can wait for all records on them, whichever process wrote them."""

import asyncio
from collections.abc import Collection

from confluent_kafka import KafkaError, KafkaException

from operations.kafka_clients import code_of
from operations.topic_ends import Partition, ReadableEnd, TopicEnds
from schemas.log_records import RecordPosition


class EndsUnknown(Exception):
    """The broker did not say."""


class LogEnds:
    def __init__(self, bootstrap: str) -> None:
        self._ends = TopicEnds(bootstrap)

    async def newest(self, topic: str) -> list[RecordPosition]:
        """Topic, partition and offset of the newest record of each partition that has one. Raises EndsUnknown."""
        try:
            spans = await asyncio.to_thread(self._ends.spans, topic)
        except KafkaException as error:
            if code_of(error) == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return []
            raise EndsUnknown(str(error)) from error
        return [(topic, partition, span.end - 1) for partition, span in spans.items() if span.end > span.first]

    async def ends(self, partitions: Collection[Partition]) -> dict[Partition, ReadableEnd]:
        """Of the partitions that exist. Raises EndsUnknown."""
        try:
            return await asyncio.to_thread(self._ends.readable, partitions)
        except KafkaException as error:
            raise EndsUnknown(str(error)) from error
