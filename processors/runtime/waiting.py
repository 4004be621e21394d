"""Fetched records of one partition that wait for their turn, weighed: a record weighs 1 and 1 more for each 4 KiB.

So that bounds hold for memory too: thousands of small records make a batch, or a few of a megabyte each.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from schemas.log_records import LogRecord

BATCH_WEIGHT_MAX = 4_000  # 4,000 small records, or 16 MiB
BYTES_SHIFT = 12


def weight_of(record: LogRecord) -> int:
    value = record.value
    return 1 if value is None else 1 + (len(value) >> BYTES_SHIFT)


def weight_of_all(records: Sequence[LogRecord]) -> int:
    return len(records) + sum([len(value) >> BYTES_SHIFT for record in records if (value := record.value) is not None])


class Waiting:
    __slots__ = ("_records", "epoch", "weight")

    def __init__(self, epoch: int = 0) -> None:
        """`epoch`: since when the partition is this worker's."""
        self.epoch = epoch
        self._records: deque[LogRecord] = deque()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def last_offset(self) -> int:
        return self._records[-1].offset

    @property
    def is_long(self) -> bool:
        """More than one batch waits."""
        return self.weight > BATCH_WEIGHT_MAX

    def extend(self, records: Iterable[LogRecord], weight: int) -> None:
        self._records.extend(records)
        self.weight += weight

    def take(self) -> tuple[list[LogRecord], int]:
        """The next batch and its weight: all there is within the bound, one record at least."""
        if not self.is_long:
            records, weight = list(self._records), self.weight
            self._records.clear()
        else:
            records = [self._records.popleft()]
            weight = weight_of(records[0])
            while self._records and (more := weight + weight_of(self._records[0])) <= BATCH_WEIGHT_MAX:
                records.append(self._records.popleft())
                weight = more
        self.weight -= weight
        return records, weight
