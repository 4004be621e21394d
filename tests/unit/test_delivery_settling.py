"""What is written down when attempts end: the outcome is with the broker before the table counts on it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from domain.delivery.retry_table import entry_of
from operations import clock
from processors.delivery.pending import Partition, Pending, lane_of
from processors.delivery.settling import TABLE, Ended, Settler
from schemas.records import Delivery, Outcome
from schemas.topics import Topic
from tests.support.fake_runtime import FakeRuntime
from tests.support.log_records import an_outcome

PARTITION = 0


def ended(outcome: Outcome) -> Ended:
    delivery = Delivery(
        **{name: getattr(outcome, name) for name in ("delivery_id", "event_id", "workspace", "environment", "stream")},
        workflow_id=outcome.workflow_id,
        received_ms=outcome.received_ms,
        event=b"",
    )
    fields: dict[str, Any] = {"partition": Partition(TP(Topic.DELIVERIES, PARTITION)), "offset": 0, "value": b"record"}
    pending = Pending(delivery=delivery, lane=lane_of(delivery), body=b"", read_at=0.0, **fields)
    return Ended(pending, outcome, first_ms=outcome.started_ms)


@pytest.fixture
async def settling(tmp_path: Path) -> AsyncIterator[Any]:
    """Over a log that confirms nothing until it is asked to: what is on it is what a crash now would leave."""
    runtime = FakeRuntime(tmp_path)
    runtime.declare(TABLE)
    await runtime.open_tables(PARTITION)
    runtime.hold_lease()
    runtime.log.holds = True
    written: list[str] = []
    settler = Settler(runtime, lambda settled, _due: written.append(settled.pending.delivery.delivery_id))
    task = asyncio.create_task(settler.run())
    yield runtime, settler, written
    task.cancel()
    runtime.close()


@pytest.mark.requirement("F44")
async def test_a_retry_is_in_the_table_only_after_its_outcome_is_on_the_log(settling: Any) -> None:
    """Killed in between, the attempt is made again under its number; the other way round its number would lack."""
    runtime, settler, written = settling
    outcome = an_outcome(status="retry_scheduled", next_attempt_ms=10, error_code="upstream_status")
    settler.add(ended(outcome))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert runtime.log.records == [] and written == []
    await runtime.log.confirm()
    assert [one.topic for one in runtime.log.records] == [Topic.OUTCOMES] and written == []
    await runtime.log.confirm()
    assert {one.topic for one in runtime.log.records[1:]} == {f"test-{TABLE}-changelog"}
    entry = entry_of(runtime.committed(PARTITION, TABLE), outcome.delivery_id)
    assert entry is not None and entry.settled == 1
    await settler.idle()
    assert written == [outcome.delivery_id]


async def test_a_first_success_waits_for_one_confirmation(settling: Any) -> None:
    runtime, settler, written = settling
    runtime.committed(PARTITION, TABLE).published_ms = clock.now_ms()  # else a batch without changes sends a stamp
    outcome = an_outcome()
    settler.add(ended(outcome))
    await asyncio.sleep(0)
    await runtime.log.confirm()
    await settler.idle()
    assert [one.topic for one in runtime.log.records] == [Topic.OUTCOMES] and written == [outcome.delivery_id]
