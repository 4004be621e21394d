"""One unit of work, mostly of one batch: the records it produces, its table changes, its dead letters. `commit` makes
all of it durable.
"""

import logging
from collections.abc import Mapping
from typing import Any

from operations.logs import Sparse
from processors.runtime import metrics
from processors.runtime.lease import Lease
from processors.runtime.outputs import Outputs
from processors.runtime.table import TableView
from schemas.ids import DEAD_LETTER, derived_id
from schemas.log_records import LogRecord
from schemas.records import DeadLetter
from schemas.topics import Topic

sparse = Sparse(logging.getLogger(__name__))
DEAD_VALUE_BYTES_MAX = 64 * 1024


class Work:
    """Begun by `AgentRuntime.begin`, then filled, then committed once. A unit that is not committed has changed no
    table; records that it produced may be on the log.
    """

    def __init__(self, group: str, out: Outputs, tables: Mapping[str, TableView], partition: int, lease: Lease) -> None:
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
        """See `Outputs.produce`."""
        self._out.produce(topic, value, key=key, partition=partition, headers=headers)

    def produce_many(self, topic: str, messages: list[dict[str, Any]]) -> None:
        """See `Outputs.produce_many`. Raises LeaseLost too."""
        self._lease.check()
        if messages:
            self._out.produce_many(topic, messages)

    def produce_values(self, topic: str, partition: int, values: list[bytes]) -> None:
        """See `Outputs.produce_values`. Raises LeaseLost too."""
        self._lease.check()
        self._out.produce_values(topic, partition, values)

    def table(self, name: str) -> TableView:
        """This unit's view of a table's partition: what was committed before, and its own changes on top."""
        return self._tables[name]

    def dead_letter(self, record: LogRecord, reason: str, message: str) -> None:
        """Sets this one record aside. `reason` is a code of a closed set, `message` a sentence without the payload.
        Every dead letter is counted; at most one log line a second is written for each reason (K14).
        """
        letter = dead_letter_of(record, reason, message)
        self._out.produce(Topic.DEAD_LETTERS, letter.encode(), key=record.topic.encode())
        metrics.DEAD_LETTERS.labels(self._group, reason).inc()
        sparse.event("record.dead", reason, reason=reason, topic=record.topic, offset=record.offset, why=message[:500])

    async def save(self) -> None:
        """Makes the table changes durable, before any record is produced: for agents that read several topics. After a
        crash, records of different topics may come again in another order, and the table must then hold what was
        published already. No table changes after it. Raises as `commit`.
        """
        await self._confirm_with_tables()
        self._saved = True

    async def records_confirmed(self) -> None:
        """Returns when the broker has the records produced so far; the tables follow with `commit`. For agents whose
        table entries presuppose what they published. Raises as `commit`.
        """
        self._lease.check()
        await self._out.confirmed()

    async def commit(self) -> None:
        """Sends the changelog records, waits until the broker has confirmed all records, writes the tables: in this
        order. Raises OutboxFailed; Abandoned; and LeaseLost, before any changelog record leaves, when another worker
        may own the partition already.
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
    """The id derives from the record's position, so that a batch that is read again gives the same letter."""
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
