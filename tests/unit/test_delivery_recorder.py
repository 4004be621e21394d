"""What is written down when attempts end: the outcome is with the broker before the table counts on it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from domain.delivery.retry_table import entry_of
from domain.delivery.states import DeliveryState
from operations import clock
from processors.delivery.loaded import AssignedPartition, LoadedDelivery, endpoint_id_of
from processors.delivery.recorder import TABLE, AttemptEnded, Recorder
from schemas.records import Delivery, Outcome
from schemas.topics import Topic
from tests.support.fake_runtime import FakeRuntime
from tests.support.log_records import an_outcome

PARTITION = 0


def ended(outcome: Outcome) -> AttemptEnded:
    delivery = Delivery(
        **{name: getattr(outcome, name) for name in ("delivery_id", "event_id", "workspace", "environment", "stream")},
        workflow_id=outcome.workflow_id,
        received_ms=outcome.received_ms,
        event=b"",
    )
    fields: dict[str, Any] = {
        "partition": AssignedPartition(TP(Topic.DELIVERIES, PARTITION)),
        "offset": 0,
        "value": b"record",
    }
    loaded = LoadedDelivery(
        delivery=delivery,
        state=DeliveryState.RECORDING_FROM_LOG,
        endpoint_id=endpoint_id_of(delivery),
        body=b"",
        read_at=0.0,
        **fields,
    )
    return AttemptEnded(loaded, outcome, first_ms=outcome.started_ms)


@pytest.fixture
async def recording(tmp_path: Path) -> AsyncIterator[Any]:
    """Over a log that confirms nothing until it is asked to: what is on it is what a crash now would leave."""
    runtime = FakeRuntime(tmp_path)
    runtime.declare(TABLE)
    await runtime.open_tables(PARTITION)
    runtime.hold_lease()
    runtime.log.holds = True
    written: list[str] = []
    recorder = Recorder(runtime, lambda one: written.append(one.item.delivery.delivery_id))
    task = asyncio.create_task(recorder.run())
    yield runtime, recorder, written
    task.cancel()
    runtime.close()


@pytest.mark.requirement("F44")
async def test_a_retry_is_in_the_table_only_after_its_outcome_is_on_the_log(recording: Any) -> None:
    """Killed in between, the attempt is made again under its number; the other way round its number would lack."""
    runtime, recorder, written = recording
    outcome = an_outcome(status="retry_scheduled", next_attempt_ms=10, error_code="upstream_status")
    recorder.add(ended(outcome))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert runtime.log.records == [] and written == []
    await runtime.log.confirm()
    assert [one.topic for one in runtime.log.records] == [Topic.OUTCOMES] and written == []
    await runtime.log.confirm()
    assert {one.topic for one in runtime.log.records[1:]} == {f"test-{TABLE}-changelog"}
    entry = entry_of(runtime.committed(PARTITION, TABLE), outcome.delivery_id)
    assert entry is not None and entry.attempts == 1
    await recorder.idle()
    assert written == [outcome.delivery_id]


async def test_a_first_success_waits_for_one_confirmation(recording: Any) -> None:
    runtime, recorder, written = recording
    runtime.committed(PARTITION, TABLE).published_ms = clock.now_ms()  # else a batch without changes sends a stamp
    outcome = an_outcome()
    recorder.add(ended(outcome))
    await asyncio.sleep(0)
    await runtime.log.confirm()
    await recorder.idle()
    assert [one.topic for one in runtime.log.records] == [Topic.OUTCOMES] and written == [outcome.delivery_id]
