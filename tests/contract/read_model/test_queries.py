"""The gateway's questions to the read model, on both databases: events by id, conflicts, and how far it has come."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

from ingest_gateway.read_model import ReadModel, ReadModelUnavailable
from operations.read_model_engine import reader_engine, writer_engine
from processors.projection.decide import project
from processors.projection.store import Store
from schemas.read_model import log_positions
from schemas.topics import stream_topic
from tests.support.log_records import TOPIC, WORKSPACE, a_decision, an_outcome, attempted, decided, event_id

FOREVER_SECONDS = 60.0
AT_ONCE_SECONDS = 0.02


@pytest.fixture
async def reads(database_url: str) -> AsyncIterator[ReadModel]:
    reads = ReadModel(database_url)
    yield reads
    await reads.close()


async def test_an_event_comes_with_all_its_attempts(store: Store, reads: ReadModel) -> None:
    attempts = [an_outcome(1, attempt=1, status="retry_scheduled"), an_outcome(1, attempt=2), an_outcome(2)]
    store.apply([project(decided(a_decision(1), a_decision(2), a_decision(3))), project(attempted(*attempts))])
    found = await reads.event(WORKSPACE, "live", event_id(1))
    assert found is not None
    assert (found.event.id, found.event.type) == (event_id(1), "order.fulfilled")
    assert sorted((row.event_id, row.attempt) for row in found.attempts) == [(event_id(1), 1), (event_id(1), 2)]
    without = await reads.event(WORKSPACE, "live", event_id(3))
    assert without is not None
    assert without.attempts == ()


@pytest.mark.requirement("A-051")
@pytest.mark.parametrize(
    ("workspace", "environment", "identifier"),
    [(WORKSPACE, "test", event_id(1)), ("ws_other", "live", event_id(1)), (WORKSPACE, "live", event_id(2))],
)
async def test_an_event_is_found_in_its_own_workspace_and_environment_only(
    store: Store, reads: ReadModel, workspace: str, environment: str, identifier: str
) -> None:
    store.apply([project(decided(a_decision(1)))])
    assert await reads.event(workspace, environment, identifier) is None


async def test_an_id_that_lost_its_key_names_the_original(store: Store, reads: ReadModel) -> None:
    store.apply([project(decided(a_decision(1, outcome="conflict", original_id=event_id(9))))])
    assert await reads.event(WORKSPACE, "live", event_id(1)) is None
    assert await reads.conflict_of(WORKSPACE, "live", event_id(1)) == event_id(9)
    assert await reads.conflict_of(WORKSPACE, "test", event_id(1)) is None
    assert await reads.conflict_of(WORKSPACE, "live", event_id(9)) is None


async def test_passed_once_a_decision_at_or_after_the_record_is_there(store: Store, reads: ReadModel) -> None:
    other = stream_topic(WORKSPACE, "live", "other")
    assert await reads.passed([])
    assert not await reads.passed([(TOPIC, 3, 0)])
    store.apply([project(decided(a_decision(5, outcome="replay", original_id=event_id(1))))])
    assert await reads.passed([(TOPIC, 3, 0), (TOPIC, 3, 5)])
    for behind in [(TOPIC, 3, 6), (TOPIC, 4, 5), (other, 3, 5)]:
        assert not await reads.passed([(TOPIC, 3, 5), behind])


async def test_a_read_waits_until_projection_has_passed_its_write(store: Store, reads: ReadModel) -> None:
    waiting = [asyncio.ensure_future(reads.wait_until_passed([(TOPIC, 3, 7)], FOREVER_SECONDS)) for _ in range(50)]
    store.apply([project(decided(a_decision(6)))])
    assert not await reads.wait_until_passed([(TOPIC, 3, 7)], AT_ONCE_SECONDS)
    assert not any(waiter.done() for waiter in waiting)
    store.apply([project(decided(a_decision(7), first_offset=1))])
    assert await asyncio.gather(*waiting) == [True] * 50


async def test_before_the_tables_are_made_the_read_model_is_unavailable_and_afterwards_it_is_there(
    database_url: str, reads: ReadModel
) -> None:
    with pytest.raises(ReadModelUnavailable):
        await reads.event(WORKSPACE, "live", event_id(1))
    with pytest.raises(ReadModelUnavailable):
        await reads.passed([(TOPIC, 3, 0)])
    assert not await reads.wait_until_passed([(TOPIC, 3, 0)], AT_ONCE_SECONDS)
    waiting = asyncio.ensure_future(reads.wait_until_passed([(TOPIC, 3, 1)], FOREVER_SECONDS))
    store = await asyncio.to_thread(_filled, database_url)
    assert await waiting
    assert await reads.event(WORKSPACE, "live", event_id(1)) is not None
    store.close()


async def test_a_read_model_whose_writer_has_gone_is_still_read(store: Store, reads: ReadModel) -> None:
    store.apply([project(decided(a_decision(1)))])
    store.close()
    assert await reads.event(WORKSPACE, "live", event_id(1)) is not None


def test_a_reader_can_not_write(store: Store, database_url: str) -> None:
    engine = reader_engine(database_url, 1)
    with engine.connect() as connection, pytest.raises(DBAPIError, match=r"read-?only"):
        connection.execute(insert(log_positions).values(topic="t", partition=0, next_offset=1))
    engine.dispose()


def _filled(database_url: str) -> Store:
    store = Store(writer_engine(database_url))
    store.prepare()
    store.apply([project(decided(a_decision(1)))])
    return store
