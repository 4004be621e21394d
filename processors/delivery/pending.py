"""What stands in memory: partitions under their assignment, and deliveries of them that have not finished."""

import asyncio
import time
from dataclasses import dataclass, field

from faust.types import TP

from processors.delivery.decide import body_of
from processors.delivery.tracker import PartitionTracker
from processors.runtime.batches import Record
from schemas.codec import EVENT
from schemas.entities import workflow_entity_id
from schemas.records import Delivery


@dataclass(frozen=True, slots=True)
class Limits:
    """What runs, and what stands in memory, at once."""

    running_max: int = 1_024
    endpoint_running_max: int = 32
    partition_pending_max: int = 2_000
    partition_pending_bytes_max: int = 16 * 1024 * 1024
    rebalance_wait_seconds: float = 2.0
    """How long a rebalance waits for running attempts; those that take longer are made again by the next owner."""


@dataclass(slots=True, eq=False)
class Partition:
    """One partition under one assignment (`epoch`): how much of it is pending, and how far it is finished."""

    tp: TP
    epoch: int
    tracker: PartitionTracker = field(default_factory=PartitionTracker)
    pending: int = 0
    pending_bytes: int = 0
    freed: asyncio.Event = field(default_factory=asyncio.Event)

    def has_room(self, limits: Limits) -> bool:
        """There is always room for one, however large."""
        if self.pending == 0:
            return True
        return self.pending < limits.partition_pending_max and self.pending_bytes < limits.partition_pending_bytes_max

    def take_in(self, pending: "Pending") -> None:
        self.pending += 1
        self.pending_bytes += pending.size_bytes

    def finish(self, pending: "Pending") -> int | None:
        """What may now be confirmed, if that moved."""
        self.pending -= 1
        self.pending_bytes -= pending.size_bytes
        self.freed.set()
        return self.tracker.finish(pending.offset)

    def revoke(self) -> None:
        self.tracker.revoke()
        self.freed.set()


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """One delivery, waiting or running. `read_at`: monotonic seconds."""

    partition: Partition
    offset: int
    delivery: Delivery
    lane: str
    body: bytes
    read_at: float

    @property
    def size_bytes(self) -> int:
        return len(self.body) + len(self.delivery.event)


def read_pending(partition: Partition, record: Record) -> Pending:
    """Raises whatever its Avro or its event makes it raise; Undecodable for most."""
    delivery = Delivery.decode(record.value)
    return Pending(
        partition=partition,
        offset=record.offset,
        delivery=delivery,
        lane=workflow_entity_id(delivery.workspace, delivery.environment, delivery.workflow_id),
        body=body_of(delivery, EVENT.decode_body(delivery.event)),
        read_at=time.monotonic(),
    )
