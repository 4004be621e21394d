"""`events.status` is what the view makes of the attempts, whatever came in which order and in which transactions."""

import random
from collections import defaultdict
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from ingest_gateway.read_model.stored import StoredEvent
from operations.read_model_engine import reader_engine
from processors.projection.decide import ProjectedRecord, project
from processors.projection.store import Store
from schemas.read_model import AttemptRow, EventRow, attempts, events
from tests.support.log_records import RECEIVED_MS, a_decision, an_outcome, attempted, decided, delivery_id, event_id

DAY_MS = 86_400_000
STATUSES = ("in_progress", "delivered", "retry_scheduled", "exhausted", "disabled")
EVENTS = 40


def kept_and_derived(database_url: str) -> dict[str, tuple[str, str]]:
    """By event: the column, and what the view shows."""
    engine = reader_engine(database_url, 1)
    with engine.connect() as connection:
        rows = [EventRow(*row) for row in connection.execute(select(events))]
        by_event: dict[str, list[AttemptRow]] = defaultdict(list)
        for row in connection.execute(select(attempts)):
            by_event[row.event_id].append(AttemptRow(*row))
    engine.dispose()
    return {row.id: (row.status, str(StoredEvent(row, tuple(by_event[row.id])).status())) for row in rows}


def a_history(chance: random.Random) -> list[Sequence[ProjectedRecord]]:
    """One-record batches of admissions (some a day later again), attempts, replays, in any order."""
    batches: list[Sequence[ProjectedRecord]] = []
    for number in range(EVENTS):
        routes = ["wf_one", "wf_two", "wf_three"][: chance.randrange(4)]
        for day in range(chance.choice([1, 1, 2])):
            received_ms = RECEIVED_MS + day * DAY_MS
            decision = a_decision(number, routes=routes, received_ms=received_ms)
            batches.append(decided(decision, first_offset=len(batches)))
            for route in [*routes, *(["wf_replayed"] if chance.random() < 0.2 else [])]:
                for attempt in range(1, chance.randrange(4)):
                    outcome = an_outcome(
                        number,
                        workflow_id=route,
                        attempt=attempt,
                        replay=chance.randrange(2),
                        received_ms=received_ms,
                        status=chance.choice(STATUSES),
                        delivery_id=delivery_id(chance.randrange(10**9)),
                    )
                    batches.append(attempted(outcome, first_offset=len(batches)))
    chance.shuffle(batches)
    return batches


@pytest.mark.requirement("A-046")
@pytest.mark.parametrize("seed", range(4))
def test_the_column_is_what_the_view_shows(store: Store, database_url: str, seed: int) -> None:
    chance = random.Random(seed)
    left = a_history(chance)
    while left:
        size = chance.choice([1, 3, 30])
        group, left = left[:size], left[size:]
        store.apply([project(batch) for batch in group])
    found = kept_and_derived(database_url)
    assert len(found) == EVENTS
    assert {event: kept for event, (kept, _) in found.items()} == {event: shown for event, (_, shown) in found.items()}
    assert len({kept for kept, _ in found.values()}) >= 4


def test_more_events_than_one_statement_takes(store: Store, database_url: str) -> None:
    numbers = range(12_000)
    outcomes = attempted(*(an_outcome(number, status="exhausted") for number in numbers))
    store.apply([project(decided(*(a_decision(number) for number in numbers))), project(outcomes)])
    assert set(kept_and_derived(database_url).values()) == {("failed", "failed")}
    assert event_id(11_999) in kept_and_derived(database_url)
