"""Delivery while its partitions come and go: what a rebalance closes or leaves unconfirmed ends no process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from faust.types import TP

from domain.entities.control_view import ControlView
from operations.settings import Settings
from processors.delivery import agent as delivery
from processors.delivery.agent import DeliveryAgent
from processors.delivery.pending import Limits
from processors.delivery.settling import TABLE
from processors.runtime.lease import Lease
from processors.runtime.outbox import OutboxBatch
from processors.runtime.runtime import Runtime
from processors.runtime.table import TablePartition, TableSpec, TableView, shared_cache
from processors.runtime.work import Work
from schemas.topics import Topic

MINE = TP(Topic.DELIVERIES, 3)
SPEC = TableSpec(TABLE, "delivery-waiting-changelog", None)


class Out:
    """An outbox batch that is confirmed when the test says so."""

    def __init__(self, may_confirm: asyncio.Event) -> None:
        self.changelog_end = {SPEC.changelog: 1}
        self.asked = asyncio.Event()
        self._may_confirm = may_confirm

    def produce(self, *_: object, **__: object) -> None:
        """Kept by nobody."""

    async def confirmed(self) -> None:
        self.asked.set()
        await self._may_confirm.wait()


class OneTable:
    """The runtime of a process with one real table; `failed` and `given_up` keep what it was told."""

    def __init__(self, directory: Path) -> None:
        self.settings = Settings.from_env({"ATLAS_MASTER_KEY": "07" * 32})
        self.control = SimpleNamespace(view=ControlView(), caught_up=_at_once)
        self.tables = self
        self.table = TablePartition(SPEC, directory, shared_cache())
        self.may_confirm = asyncio.Event()
        self.out = Out(self.may_confirm)
        self.failed: list[BaseException] = []
        self.given_up: list[str] = []
        self.outbox = SimpleNamespace(batch=lambda: self.out)

    async def open(self, _partition: int) -> bool:
        return True

    def committed(self, _partition: int, _name: str) -> TablePartition:
        return self.table

    def begin_at(self, partition: int) -> Work:
        lease = cast(Lease, SimpleNamespace(check=lambda: None))
        tables = {TABLE: TableView(self.table, b"0123456789abcdef")}
        return Work("delivery", cast(OutboxBatch, self.out), tables, partition, lease)

    def fail(self, error: BaseException) -> None:
        self.failed.append(error)

    def give_up(self, why: str) -> None:
        self.given_up.append(why)
        self.may_confirm.set()


async def _at_once() -> None:
    """Nothing to wait for."""


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[OneTable]:
    runtime = OneTable(tmp_path / "table")
    yield runtime
    runtime.table.close()  # twice is as good


@pytest.fixture
async def agent(runtime: OneTable) -> AsyncIterator[DeliveryAgent]:
    agent = DeliveryAgent(cast(Runtime, runtime), Limits())
    yield agent
    runtime.may_confirm.set()
    await agent.stop()


@pytest.mark.requirement("F17")
async def test_a_table_that_a_rebalance_closes_while_its_first_change_is_on_its_way(
    runtime: OneTable, agent: DeliveryAgent
) -> None:
    """A start into a rebalance. The change is confirmed after the table was closed: RocksDB says DbClosedError."""
    await agent.assigned({MINE})
    await asyncio.wait_for(runtime.out.asked.wait(), 5)
    await agent.revoked({MINE})
    runtime.table.close()
    runtime.may_confirm.set()
    await asyncio.sleep(0.05)
    assert runtime.failed == []


@pytest.mark.requirement("F17", "F2")
async def test_outcomes_that_no_broker_takes_during_a_rebalance_are_given_up(
    runtime: OneTable, agent: DeliveryAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be written after the partitions have gone. Waiting for them ended the process with a TimeoutError."""

    async def idle() -> None:
        await runtime.may_confirm.wait()

    monkeypatch.setattr(delivery, "REVOKED_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(agent._settler, "idle", idle)
    await agent.revoked({MINE})
    assert len(runtime.given_up) == 1
