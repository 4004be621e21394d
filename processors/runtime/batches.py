"""What an agent is handed: one fetched batch of one partition, its records in the log's order."""

from confluent_kafka import Message
from faust.types import TP

from operations.message_headers import headers_of
from schemas.log_records import Headers, LogRecord


def to_record(message: Message) -> LogRecord:
    """Never raises: what is odd about a record is for its agent to find, with the record in hand."""
    return LogRecord(
        message.topic(),  # type: ignore[arg-type]
        message.partition(),  # type: ignore[arg-type]
        message.offset(),  # type: ignore[arg-type]
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers_of(message),
    )


class Batch:
    """Records of one partition. `epoch` is the ownership it was fetched under: a later rebalance makes it stale."""

    __slots__ = ("epoch", "records", "tp")

    def __init__(self, tp: TP, records: list[LogRecord], epoch: int) -> None:
        self.tp = tp
        self.records = records
        self.epoch = epoch

    @property
    def first_offset(self) -> int:
        return self.records[0].offset

    @property
    def next_offset(self) -> int:
        return self.records[-1].offset + 1

    def __len__(self) -> int:
        return len(self.records)


def joined(batches: list[Batch]) -> Batch:
    """Several batches of one partition number as one, for a handler that decides record by record."""
    first = batches[0]
    if len(batches) == 1:
        return first
    return Batch(first.tp, [record for batch in batches for record in batch.records], first.epoch)


class BatchMessage:
    """Stands in for aiokafka's ConsumerRecord inside Faust: its value is the batch, its offset the last record's."""

    __slots__ = (
        "checksum",
        "headers",
        "key",
        "offset",
        "partition",
        "serialized_key_size",
        "serialized_value_size",
        "timestamp",
        "timestamp_type",
        "topic",
        "value",
    )

    def __init__(self, batch: Batch) -> None:
        last = batch.records[-1]
        self.topic, self.partition, self.offset = last.topic, last.partition, last.offset
        self.timestamp, self.timestamp_type = last.timestamp, 1
        self.headers: Headers = ()
        self.key, self.value, self.checksum = b"", batch, None
        self.serialized_key_size = self.serialized_value_size = 0
