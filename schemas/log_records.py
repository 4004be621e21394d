"""A record as it is on the log: what a Kafka consumer was handed, without the client's own types."""

from collections.abc import Sequence
from typing import NamedTuple

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


class SourceRecord(NamedTuple):
    """Where an admitted event stands on the log, and when it was admitted."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    received_ms: int
