"""What is written down when attempts end: the outcome is with the broker before the table counts on it."""

import asyncio
from typing import Any, cast

import pytest
from faust.types import TP

from domain.delivery.retry_table import entry_of
from processors.delivery.pending import Partition, Pending, lane_of
from processors.delivery.settling import Ended, Settler
from processors.runtime.lease import Lease
from processors.runtime.outbox import OutboxBatch
from processors.runtime.runtime import Runtime
from processors.runtime.table import TableView
from processors.runtime.work import Work
from schemas.records import Delivery, Outcome
from schemas.topics import Topic
from tests.support.control_stand_in import MemoryTable
from tests.support.log_records import an_outcome

CHANGELOG = "changelog"


class Broker:
    """An outbox batch whose records are confirmed when the test says so; `kept` is what a crash now would leave."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self._sent: list[str] = []
        self._confirm = asyncio.Event()

    def produce(self, topic: str, *_: object, **__: object) -> None:
        self._sent.append(topic)

    async def confirmed(self) -> None:
        while self._sent:
            await self._confirm.wait()
            self._confirm.clear()
            self.kept += self._sent
            self._sent = []

    async def confirm(self) -> None:
        self._confirm.set()
        for _ in range(10):
            await asyncio.sleep(0)


class Table(MemoryTable):
    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def put(self, key: bytes, value: bytes) -> None:
        self.changes += 1
        super().put(key, value)

    def publish(self, out: Broker, _partition: int) -> None:
        for _ in range(self.changes):
            out.produce(CHANGELOG)

    def apply(self, _out: object) -> None:
        self.changes = 0


class StubRuntime:
    def __init__(self) -> None:
        self.broker, self.table = Broker(), Table()

    def begin_at(self, partition: int) -> Work:
        lease = cast(Lease, type("Held", (), {"check": staticmethod(lambda: None)}))
        tables = {"waiting": cast(TableView, self.table)}
        return Work("delivery", cast(OutboxBatch, self.broker), tables, partition, lease)


def ended(outcome: Outcome) -> Ended:
    delivery = Delivery(
        **{name: getattr(outcome, name) for name in ("delivery_id", "event_id", "workspace", "environment", "stream")},
        workflow_id=outcome.workflow_id,
        received_ms=outcome.received_ms,
        event=b"",
    )
    fields: dict[str, Any] = {"partition": Partition(TP(Topic.DELIVERIES, 0)), "offset": 0, "value": b"record"}
    pending = Pending(delivery=delivery, lane=lane_of(delivery), body=b"", read_at=0.0, **fields)
    return Ended(pending, outcome, first_ms=outcome.started_ms)


@pytest.fixture
async def settling() -> Any:
    runtime = StubRuntime()
    written: list[str] = []
    settler = Settler(
        cast(Runtime, runtime), lambda settled, _due: written.append(settled.pending.delivery.delivery_id)
    )
    task = asyncio.create_task(settler.run())
    yield runtime, settler, written
    task.cancel()


@pytest.mark.requirement("F44")
async def test_a_retry_is_in_the_table_only_after_its_outcome_is_on_the_log(settling: Any) -> None:
    """Killed in between, the attempt is made again under its number; the other way round its number would lack."""
    runtime, settler, written = settling
    outcome = an_outcome(status="retry_scheduled", next_attempt_ms=10, error_code="upstream_status")
    settler.add(ended(outcome))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert runtime.broker.kept == [] and written == []
    await runtime.broker.confirm()
    assert runtime.broker.kept == [Topic.OUTCOMES] and written == []
    await runtime.broker.confirm()
    assert set(runtime.broker.kept[1:]) == {CHANGELOG}
    entry = entry_of(runtime.table, outcome.delivery_id)
    assert entry is not None and entry.settled == 1
    await settler.idle()
    assert written == [outcome.delivery_id]


async def test_a_first_success_waits_for_one_confirmation(settling: Any) -> None:
    runtime, settler, written = settling
    outcome = an_outcome()
    settler.add(ended(outcome))
    await asyncio.sleep(0)
    await runtime.broker.confirm()
    await settler.idle()
    assert runtime.broker.kept == [Topic.OUTCOMES] and written == [outcome.delivery_id]
