"""What stands in memory: partitions under their assignment, and deliveries of them that have not finished."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from domain.delivery.decide import body_of, ordering_key_of
from domain.delivery.retry_table import Entry, entry_of, order_hash
from domain.delivery.subscribed import is_subscribed
from domain.delivery.tracker import PartitionTracker
from domain.delivery.webhooks import DeliveryKind
from processors.runtime.table import TablePartition
from schemas.codec import EVENT
from schemas.entities import workflow_entity_id
from schemas.log_records import LogRecord
from schemas.records import Delivery


@dataclass(frozen=True, slots=True)
class Limits:
    """What runs, and what stands in memory, at once."""

    running_max: int = 1_024
    not_quick_running_max: int = 768
    """Of all endpoints together that are slow, or of which nothing is known yet: the others always have the rest."""
    endpoint_running_max: int = 32
    unknown_running_max: int = 4
    """Of an endpoint of which nothing is known yet."""
    endpoint_pending_max: int = 64
    """Of one endpoint, running ones included: as many are taken from the table, and where more have come from the log
    and the first of them has waited for `slow_seconds`, the next ones go into the table."""
    slow_seconds: float = 1.0
    """Also: an endpoint whose attempts take longer is slow."""
    full_seconds: float = 0.05
    """How long a partition that has no room waits before the longest lane goes into the table."""
    partition_pending_max: int = 2_000
    partition_pending_bytes_max: int = 16 * 1024 * 1024
    fetched_max: int = 4_000
    """Taken from the tables of all partitions, as their time has come."""
    fetched_bytes_max: int = 64 * 1024 * 1024
    fetched_of_slow_share: float = 0.75
    """Of both, for endpoints that are not quick."""
    rebalance_wait_seconds: float = 2.0
    """How long a rebalance waits for running attempts; those that take longer are made again by the next owner."""


@dataclass(slots=True, eq=False)
class Partition:
    """One partition under one assignment: how much of it is pending, and how far it is finished.

    `epoch` is that of its batches, None before the first. `table` is set, and `opened`, once its lanes are known.
    """

    tp: TP
    epoch: int | None = None
    tracker: PartitionTracker = field(default_factory=PartitionTracker)
    table: TablePartition | None = None
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    pending: int = 0
    pending_bytes: int = 0
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    in_memory: set[str] = field(default_factory=set)
    """Ids of the deliveries that wait or run in memory, wherever they came from."""
    cursors: dict[str, bytes] = field(default_factory=dict)
    """By lane: the place behind the last one taken from the table."""
    spilling: dict[str, int] = field(default_factory=dict)
    """By lane: deliveries on their way into the table."""

    def has_room(self, limits: Limits) -> bool:
        """There is always room for one, however large."""
        if self.pending == 0:
            return True
        return self.pending < limits.partition_pending_max and self.pending_bytes < limits.partition_pending_bytes_max

    def knows(self, delivery_id: str) -> bool:
        """It is under way, waits, or ended a while ago: another record of it changes nothing."""
        return delivery_id in self.in_memory or (
            self.table is not None and entry_of(self.table, delivery_id) is not None
        )

    def take_in(self, pending: "Pending") -> None:
        """One from the log."""
        self.pending += 1
        self.pending_bytes += pending.size_bytes
        self.in_memory.add(pending.delivery.delivery_id)

    def finish(self, pending: "Pending") -> int | None:
        """One from the log is done with. What may now be confirmed, if that moved."""
        assert pending.offset is not None
        self.pending -= 1
        self.pending_bytes -= pending.size_bytes
        self.in_memory.discard(pending.delivery.delivery_id)
        self.freed.set()
        return self.tracker.finish(pending.offset)

    def revoke(self) -> None:
        self.tracker.revoke()
        self.freed.set()
        self.opened.set()

    @property
    def revoked(self) -> bool:
        return self.tracker.revoked


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """One delivery, waiting in memory or running. `offset` None: it was taken from the table.

    `value` is its record; `settled` the number of its last attempt, `first_ms` when its first began (0: none was made).
    `due_ms`: 0 for one from the log. `read_at`: monotonic seconds.
    """

    partition: Partition
    offset: int | None
    value: bytes
    delivery: Delivery
    lane: str
    body: bytes
    read_at: float
    order_key: bytes = b""
    settled: int = 0
    first_ms: int = 0
    due_ms: int = 0

    @property
    def size_bytes(self) -> int:
        return len(self.body) + len(self.value)

    @property
    def attempt(self) -> int:
        return self.settled + 1


def lane_of(delivery: Delivery) -> str:
    return workflow_entity_id(delivery.workspace, delivery.environment, delivery.workflow_id)


def read_pending(partition: Partition, record: LogRecord, is_ordered: Callable[[str], bool]) -> Pending:
    """Raises whatever its Avro or its event makes it raise; Undecodable for most."""
    delivery = Delivery.decode(record.value)
    lane = lane_of(delivery)
    body, event = _content(delivery)
    ordering_key = ordering_key_of(event) if event is not None and is_ordered(lane) else None
    return Pending(
        partition=partition,
        offset=record.offset,
        value=record.value or b"",
        delivery=delivery,
        lane=lane,
        body=body,
        read_at=time.monotonic(),
        order_key=b"" if ordering_key is None else order_hash(ordering_key),
    )


def pending_again(partition: Partition, value: bytes, entry: Entry) -> Pending:
    """One whose time has come, from the table."""
    delivery = Delivery.decode(value)
    return Pending(
        partition=partition,
        offset=None,
        value=value,
        delivery=delivery,
        lane=entry.lane,
        body=_content(delivery)[0],
        read_at=time.monotonic(),
        order_key=entry.order_key,
        settled=entry.settled,
        first_ms=entry.first_ms,
        due_ms=entry.due_ms,
    )


def _content(delivery: Delivery) -> tuple[bytes, dict[str, Any] | None]:
    """The body, and the event that it is about; a webhook's body is sent as it stands, a subscription's is made when
    it is sent (subscribed.py).
    """
    if delivery.kind == DeliveryKind.WEBHOOK:
        return delivery.event, None
    event = EVENT.decode_body(delivery.event)
    return b"" if is_subscribed(delivery) else body_of(delivery, event), event
