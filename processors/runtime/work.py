"""The unit of one batch: what it produces, what it changes in tables, what it sets aside. `commit` makes it all
durable.
"""

import logging
from typing import Any

from operations.logs import Sparse
from processors.runtime import metrics
from processors.runtime.lease import Lease
from processors.runtime.outbox import OutboxBatch
from processors.runtime.table import TableView
from schemas.ids import DEAD_LETTER, derived_id
from schemas.log_records import LogRecord
from schemas.records import DeadLetter
from schemas.topics import Topic

sparse = Sparse(logging.getLogger(__name__))
DEAD_VALUE_BYTES_MAX = 64 * 1024


class Work:
    def __init__(
        self, group: str, out: OutboxBatch, tables: dict[str, TableView], partition: int, lease: Lease
    ) -> None:
        self._group = group
        self._out = out
        self._tables = tables
        self._partition = partition
        self._lease = lease
        self._saved = False

    def produce(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        """Without a partition the key decides (murmur2, as the Java client)."""
        self._out.produce(topic, value, key=key, partition=partition, headers=headers)

    def produce_many(self, topic: str, messages: list[dict[str, Any]]) -> None:
        """The same for many: each with value and, where wanted, key; without headers."""
        self._lease.check()
        if messages:
            self._out.produce_many(topic, messages)

    def produce_values(self, topic: str, partition: int, values: list[bytes]) -> None:
        """The same for many of one partition, without keys."""
        self._lease.check()
        self._out.produce_values(topic, partition, values)

    def table(self, name: str) -> TableView:
        return self._tables[name]

    def dead_letter(self, record: LogRecord, reason: str, message: str) -> None:
        """Sets this record aside, alone. `reason` is a code of a closed set, `message` a sentence without the
        payload. Each is counted; of the log lines one a second a reason is written (RELIABILITY K14).
        """
        letter = dead_letter_of(record, reason, message)
        self._out.produce(Topic.DEAD_LETTERS, letter.encode(), key=record.topic.encode())
        metrics.DEAD_LETTERS.labels(self._group, reason).inc()
        sparse.event("record.dead", reason, reason=reason, topic=record.topic, offset=record.offset, why=message[:500])

    async def save(self) -> None:
        """Tables alone: changelog out, confirmed by the broker, written. For agents of several topics, before they
        produce anything: read again after a crash, records of different topics may come in another order, and what
        was told must then be in the table already. No table changes after it. Raises as `commit`.
        """
        await self._confirm_with_tables()
        self._saved = True

    async def records_confirmed(self) -> None:
        """What was produced so far is with the broker; tables follow with `commit`. For agents whose table counts on
        what they told. Raises as `commit`.
        """
        self._lease.check()
        await self._out.confirmed()

    async def commit(self) -> None:
        """Changelog out, all records confirmed by the broker, tables written: in this order. Raises OutboxFailed, and
        LeaseLost before anything of the tables leaves when another worker may own the partition already.
        """
        if self._saved:
            self._lease.check()
            await self._out.confirmed()
        else:
            await self._confirm_with_tables()

    async def _confirm_with_tables(self) -> None:
        self._lease.check()
        for view in self._tables.values():
            view.publish(self._out, self._partition)
        await self._out.confirmed()
        for view in self._tables.values():
            view.apply(self._out)


def dead_letter_of(record: LogRecord, reason: str, message: str) -> DeadLetter:
    """The id is derived from where the record stood, so that a batch that is read again gives the same letter."""
    where: tuple[Any, ...] = (record.topic, record.partition, record.offset)
    value = record.value
    return DeadLetter(
        id=derived_id(DEAD_LETTER, max(0, record.timestamp), repr(where).encode()),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        reason=reason,
        message=message,
        key=None if record.key is None else record.key[:1024],
        value=None if value is None else value[:DEAD_VALUE_BYTES_MAX],
        value_bytes=0 if value is None else len(value),
    )
