"""A record as it is on the log: what a Kafka consumer was handed, without the client's own types."""

from collections.abc import Sequence

import msgspec

Headers = Sequence[tuple[str, bytes | None]]
"""In the order of the record; a name may come more than once, and a header may have no value."""
RecordPosition = tuple[str, int, int]
"""Topic, partition and offset."""


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """One Kafka record. `timestamp` is the broker's append time in milliseconds (all topics are LogAppendTime)."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    def header(self, name: str) -> bytes | None:
        """The first header of that name; None where there is none or it has no value."""
        for header, value in self.headers:
            if header == name:
                return value
        return None


class SourceRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The record that an event came with. `topic_id` tells it from a record of a deleted topic of the same name."""

    topic: str
    topic_id: str
    partition: int
    offset: int


class AdmittedRecord(SourceRecord, frozen=True, array_like=True, gc=False):
    """The same, with the time of its admission."""

    received_ms: int
