"""What a process has in memory: its partitions, and their deliveries that are queued, running or being recorded."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from domain.delivery.bodies import body_of, is_subscribed
from domain.delivery.offset_tracker import OffsetTracker
from domain.delivery.retry_table import RetryEntry, entry_of, order_hash, ordering_key_of
from domain.delivery.states import FIRST_STATE, KEPT_BY, DeliveryInput, DeliveryState, Keeper, next_state
from domain.delivery.webhooks import DeliveryKind
from domain.tables import CommittedTable
from processors.delivery.limits import Limits
from schemas.codec import EVENT
from schemas.entities import workflow_entity_id
from schemas.log_records import LogRecord
from schemas.records import Delivery


@dataclass(slots=True, eq=False)
class AssignedPartition:
    """One partition under one assignment.

    `epoch` is that of its batches, None before the first. `table` is set, and `opened`, once the due times of its
    endpoints are known.
    """

    tp: TP
    epoch: int | None = None
    tracker: OffsetTracker = field(default_factory=OffsetTracker)
    table: CommittedTable | None = None
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    loaded: "dict[str, LoadedDelivery]" = field(default_factory=dict)
    """By delivery id."""
    from_log: int = 0
    """How many of the loaded ones the log keeps, so that they hold up what may be committed."""
    from_log_bytes: int = 0
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    cursors: dict[str, bytes] = field(default_factory=dict)
    """By endpoint id: the key in the retry table after the last one that was loaded."""
    storing: dict[str, int] = field(default_factory=dict)
    """By endpoint id: how many deliveries are on their way into the retry table."""

    def has_capacity(self, limits: Limits) -> bool:
        """One delivery always fits, however large."""
        if self.from_log == 0:
            return True
        return (
            self.from_log < limits.partition_from_log_max and self.from_log_bytes < limits.partition_from_log_bytes_max
        )

    def knows(self, delivery_id: str) -> bool:
        """It is loaded, waits, or ended a while ago: another record of it changes nothing."""
        return delivery_id in self.loaded or (self.table is not None and entry_of(self.table, delivery_id) is not None)

    def add(self, delivery: "LoadedDelivery") -> None:
        self.loaded[delivery.delivery_id] = delivery
        if delivery.kept_by is Keeper.LOG:
            self.from_log += 1
            self.from_log_bytes += delivery.size_bytes

    def remove(self, delivery: "LoadedDelivery", kept_by: Keeper) -> None:
        """`kept_by`: what kept it while it was loaded."""
        self.loaded.pop(delivery.delivery_id, None)
        if kept_by is Keeper.LOG:
            self.from_log -= 1
            self.from_log_bytes -= delivery.size_bytes
            self.freed.set()

    def stored(self, endpoint_id: str) -> None:
        """A delivery of this endpoint that was on its way into the table is there, or was released."""
        left = self.storing[endpoint_id] - 1
        if left:
            self.storing[endpoint_id] = left
        else:
            del self.storing[endpoint_id]

    def revoke(self) -> None:
        self.tracker.revoke()
        self.freed.set()
        self.opened.set()

    @property
    def revoked(self) -> bool:
        return self.tracker.revoked


@dataclass(slots=True, eq=False)
class LoadedDelivery:
    """One delivery in memory. `state` changes by `receive` only (domain/delivery/states.py).

    `value`: its record. `offset`: the record's, None if it came from the retry table. `attempts`: how many attempts
    have ended. `first_ms`: when the first began, 0 before it. `due_ms`: 0 if it came from the log. `read_at`: monotonic
    seconds.
    """

    partition: AssignedPartition
    state: DeliveryState
    offset: int | None
    value: bytes
    delivery: Delivery
    endpoint_id: str
    body: bytes
    read_at: float
    order_key: bytes = b""
    attempts: int = 0
    first_ms: int = 0
    due_ms: int = 0

    def receive(self, received: DeliveryInput) -> None:
        """Raises ImpossibleTransition."""
        self.state = next_state(self.state, received)

    @property
    def kept_by(self) -> Keeper:
        return KEPT_BY[self.state]

    @property
    def delivery_id(self) -> str:
        return self.delivery.delivery_id

    @property
    def size_bytes(self) -> int:
        return len(self.body) + len(self.value)

    @property
    def attempt(self) -> int:
        """The number of its next attempt, or of the one that runs."""
        return self.attempts + 1


def endpoint_id_of(delivery: Delivery) -> str:
    return workflow_entity_id(delivery.workspace, delivery.environment, delivery.workflow_id)


def read_delivery(partition: AssignedPartition, record: LogRecord, is_ordered: Callable[[str], bool]) -> LoadedDelivery:
    """From the log. Raises what its Avro or its event makes the reader raise; Undecodable for most."""
    delivery = Delivery.decode(record.value)
    endpoint_id = endpoint_id_of(delivery)
    body, event = _content(delivery)
    ordering_key = ordering_key_of(event) if event is not None and is_ordered(endpoint_id) else None
    return LoadedDelivery(
        partition=partition,
        state=FIRST_STATE,
        offset=record.offset,
        value=record.value or b"",
        delivery=delivery,
        endpoint_id=endpoint_id,
        body=body,
        read_at=time.monotonic(),
        order_key=b"" if ordering_key is None else order_hash(ordering_key),
    )


def load_delivery(partition: AssignedPartition, value: bytes, entry: RetryEntry) -> LoadedDelivery:
    """From the retry table, for an entry that waits."""
    delivery = Delivery.decode(value)
    return LoadedDelivery(
        partition=partition,
        state=next_state(DeliveryState.WAITING, DeliveryInput.LOAD),
        offset=None,
        value=value,
        delivery=delivery,
        endpoint_id=entry.endpoint_id,
        body=_content(delivery)[0],
        read_at=time.monotonic(),
        order_key=entry.order_key,
        attempts=entry.attempts,
        first_ms=entry.first_ms,
        due_ms=entry.due_ms,
    )


def _content(delivery: Delivery) -> tuple[bytes, dict[str, Any] | None]:
    """The body, and the event that it is about. A webhook's body is sent as it is in the record; a subscription's is
    made for each attempt (bodies.py).
    """
    if delivery.kind == DeliveryKind.WEBHOOK:
        return delivery.event, None
    event = EVENT.decode_body(delivery.event)
    return b"" if is_subscribed(delivery) else body_of(delivery, event), event
