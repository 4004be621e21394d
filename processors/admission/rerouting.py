"""Direct records on the wrong partition: written once more to the topic `admission`, on the partition of their key.

Kafka clients partition differently (librdkafka's default is CRC32, Sarama's FNV-1a), and a null key goes anywhere, so
a duplicate can stand on another partition than its original. The owner of the key's partition decides it there; the
header says where it stood first, and that position stays the event's (DESIGN, Topics).
"""

import struct

from processors.runtime.batches import Record
from schemas.partitioner import partition_for

ORIGIN_HEADER = "atlas-origin"
_POSITION = struct.Struct(">iqq")


def right_partition(idempotency_key: str | None, event_id: str, partitions: int) -> int:
    return partition_for((idempotency_key or event_id).encode(), partitions)


def origin_header(record: Record) -> bytes:
    return _POSITION.pack(record.partition, record.offset, record.timestamp) + record.topic.encode()


def as_first_written(record: Record) -> Record | None:
    """A record of the topic `admission` as it stood on its stream's topic; None when its header is not ours."""
    header = record.header(ORIGIN_HEADER)
    if header is None or len(header) <= _POSITION.size:
        return None
    partition, offset, timestamp = _POSITION.unpack_from(header)
    topic = header[_POSITION.size :].decode("utf-8", "replace")
    return record._replace(topic=topic, partition=partition, offset=offset, timestamp=timestamp, headers=())
