"""Delivery while its partitions come and go: what a rebalance closes or leaves unconfirmed ends no process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from faust.types import TP

from processors.delivery import agent as delivery
from processors.delivery.agent import DeliveryAgent
from processors.delivery.recorder import TABLE
from schemas.topics import Topic
from tests.support.fake_runtime import FakeRuntime
from tests.support.until import until

MINE = TP(Topic.DELIVERIES, 3)


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[FakeRuntime]:
    """Its log confirms nothing by itself."""
    runtime = FakeRuntime(tmp_path)
    runtime.log.holds = True
    yield runtime
    runtime.close()


@pytest.fixture
async def agent(runtime: FakeRuntime) -> AsyncIterator[DeliveryAgent]:
    delivery.build(runtime)
    [agent] = runtime.agents.values()
    assert isinstance(agent, DeliveryAgent)
    yield agent
    runtime.log.holds = False
    await runtime.log.confirm()
    await agent.stopping()


@pytest.mark.requirement("F17")
async def test_a_table_that_a_rebalance_closes_while_its_first_change_is_on_its_way(
    runtime: FakeRuntime, agent: DeliveryAgent
) -> None:
    """A start into a rebalance. The change is confirmed after the table was closed: RocksDB says DbClosedError."""
    await runtime.assign(MINE)
    await until(lambda: runtime.log.awaited == 1)
    await agent.revoked({MINE})
    runtime.close_tables(MINE.partition)
    await runtime.log.confirm()
    assert f"test-{TABLE}-changelog" in {one.topic for one in runtime.log.records}, "the change came through"
    assert runtime.failures == []


@pytest.mark.requirement("F17", "F2")
async def test_outcomes_that_no_broker_takes_during_a_rebalance_are_given_up(
    runtime: FakeRuntime, agent: DeliveryAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be written after the partitions have gone. Waiting for them ended the process with a TimeoutError."""

    async def idle() -> None:
        await until(lambda: bool(runtime.given_up))

    monkeypatch.setattr(delivery, "REVOKED_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(agent._recorder, "idle", idle)
    await agent.revoked({MINE})
    assert len(runtime.given_up) == 1
