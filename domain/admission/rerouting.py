"""Direct records on the wrong partition: written once more to the topic `admission`, on the partition of their key.

Kafka clients partition differently (librdkafka's default is CRC32, Sarama's FNV-1a), and a null key goes to any
partition, so a duplicate can be on another partition than its original. The owner of the key's partition decides it
there. A header holds the record's first position, which stays the event's. The header is signed, so that only admission
can set it. docs/decisions/0005 has the reasons.
"""

import hashlib
import struct

import msgspec

from domain.events.spine_records import carried_headers
from domain.security.gateway_signatures import HASH_BYTES, MAC_BYTES, GatewaySigner
from schemas.log_records import LogRecord
from schemas.partitioner import partition_for
from schemas.topics import Topic

ORIGIN_HEADER = "atlas-origin"
_POSITION = struct.Struct(">iqq")
_SIGNATURE_BYTES = HASH_BYTES + MAC_BYTES


def placement_key(idempotency_key: str | None, event_id: str) -> bytes:
    """The key from which an event's partition is computed: its idempotency key, else its id."""
    return (idempotency_key or event_id).encode()


def right_partition(idempotency_key: str | None, event_id: str, partitions: int) -> int:
    return partition_for(placement_key(idempotency_key, event_id), partitions)


def origin_header(record: LogRecord, signer: GatewaySigner) -> bytes:
    """Partition, offset, append time and topic of a record, signed together with its value."""
    origin = _POSITION.pack(record.partition, record.offset, record.timestamp) + record.topic.encode()
    return signer.sign(Topic.ADMISSION, _digest(origin, record), record.value or b"") + origin


def as_first_written(record: LogRecord, signer: GatewaySigner) -> LogRecord | None:
    """A record of the topic `admission` as it was on its stream's topic; None when its header is not ours."""
    header = record.header(ORIGIN_HEADER)
    if header is None or len(header) <= _SIGNATURE_BYTES + _POSITION.size:
        return None
    signature, origin = header[:_SIGNATURE_BYTES], header[_SIGNATURE_BYTES:]
    if signer.verified_hash(Topic.ADMISSION, signature, record.value or b"") != _digest(origin, record):
        return None
    partition, offset, timestamp = _POSITION.unpack_from(origin)
    topic = origin[_POSITION.size :].decode()
    return msgspec.structs.replace(
        record,
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=timestamp,
        headers=carried_headers(record.headers),
    )


def _digest(origin: bytes, record: LogRecord) -> bytes:
    """Covers the headers that go with the value too: a CloudEvent's attributes."""
    digest = hashlib.blake2b(origin, digest_size=HASH_BYTES)
    for name, value in carried_headers(record.headers):
        digest.update(b"\0" + name.encode() + b"\0" + len(value).to_bytes(4, "big") + value)
    return digest.digest()
