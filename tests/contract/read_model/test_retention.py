"""What streams keep no longer leaves the read model in slices, with all that belongs to it and nothing else."""

import re

import msgspec
import pytest
from sqlalchemy import Table, text

from operations.read_model_engine import writer_engine
from processors.projection.decide import project
from processors.projection.retention import OLD_EVENTS, SLICE_EVENTS, SLICE_ROWS, START, Expiring, expiring, kept_days
from processors.projection.store import Store
from schemas.entities import Stream
from schemas.read_model import audit_log, event_conflicts, scope_of
from schemas.topics import DAY_MS, stream_topic
from tests.contract.read_model.test_store import contents
from tests.support.log_records import (
    RECEIVED_MS,
    WORKSPACE,
    a_decision,
    an_audit,
    an_outcome,
    attempted,
    audited,
    decided,
    event_id,
)

NOW_MS = RECEIVED_MS + 200 * DAY_MS
REGION = msgspec.json.encode({"region": "eu", "trial": True, "size": 1.5, "nul": "\x00"})


def fill(store: Store, numbers: range, **changes: object) -> None:
    decisions = [a_decision(number, metadata=REGION, **changes) for number in numbers]
    outcomes = [an_outcome(number, attempt=attempt) for number in numbers for attempt in (1, 2)]
    store.apply([project(decided(*decisions)), project(attempted(*outcomes))])


def expire(store: Store, old: Expiring) -> list[int]:
    """How many left, slice by slice."""
    slices = []
    while (gone := store.expire(old)) > 0:
        slices.append(gone)
    return slices


def walk(store: Store, now_ms: int) -> int:
    """Once through all that may be left over; the steps it took."""
    place, steps = store.delete_leftovers(START, now_ms), 1
    while place != START:
        place, steps = store.delete_leftovers(place, now_ms), steps + 1
    return steps


@pytest.mark.requirement("A-020")
def test_events_leave_in_slices_with_their_attempts_and_metadata(store: Store, database_url: str) -> None:
    old_ms = RECEIVED_MS - 10 * DAY_MS
    fill(store, range(SLICE_EVENTS + 20), received_ms=old_ms)
    fill(store, range(10_000, 10_003))
    fill(store, range(20_000, 20_002), received_ms=old_ms, topic=stream_topic(WORKSPACE, "live", "other"))
    assert store.streams_shown() == [(WORKSPACE, "live", "orders"), (WORKSPACE, "live", "other")]
    assert expire(store, expiring((WORKSPACE, "live", "orders"), 5, RECEIVED_MS)) == [SLICE_EVENTS, 20]
    left = contents(database_url)
    stay = [event_id(number) for number in (*range(10_000, 10_003), 20_000, 20_001)]
    assert [row[2] for row in left["events"]] == stay
    assert sorted({row[2] for row in left["attempts"]}) == stay
    assert len(left["events_metadata"]) == 4 * len(stay)


def test_an_event_at_the_edge_stays(store: Store, database_url: str) -> None:
    fill(store, range(1), received_ms=NOW_MS - DAY_MS)
    assert expire(store, expiring((WORKSPACE, "live", "orders"), 1, NOW_MS)) == []
    assert expire(store, expiring((WORKSPACE, "live", "orders"), 1, NOW_MS + 1)) == [1]
    assert not contents(database_url)["events"]


def test_each_stream_keeps_as_long_as_its_entity_says() -> None:
    stream = Stream(id="stm_1", workspace=WORKSPACE, created_ms=0, environment="live", name="orders", retention_days=3)
    assert kept_days([stream]) == {(WORKSPACE, "live", "orders"): 3}


def test_attempts_whose_event_has_left_go_after_two_days_and_no_other(store: Store, database_url: str) -> None:
    store.apply([project(decided(a_decision(1), a_decision(3)))])
    late = RECEIVED_MS + 3 * DAY_MS
    outcomes = [an_outcome(1), an_outcome(2), an_outcome(3, completed_ms=late), an_outcome(4, completed_ms=late)]
    store.apply([project(attempted(*outcomes))])
    walk(store, RECEIVED_MS + 4 * DAY_MS)
    assert [row[2] for row in contents(database_url)["attempts"]] == [event_id(number) for number in (1, 3, 4)]


def test_leftovers_are_found_however_many_attempts_there_are(store: Store, database_url: str) -> None:
    outcomes = [an_outcome(number, attempt=attempt) for number in range(1_500) for attempt in (1, 2)]
    store.apply([project(attempted(*outcomes))])
    assert walk(store, NOW_MS) == 3
    assert not contents(database_url)["attempts"]


def aged_out(store: Store, table: Table, now_ms: int) -> list[int]:
    """How many left, slice by slice."""
    slices = []
    while (gone := store.delete_aged(table, now_ms)) > 0:
        slices.append(gone)
    return slices


def test_conflicts_go_after_ninety_days(store: Store, database_url: str) -> None:
    lost = [a_decision(number, outcome="conflict", original_id=event_id(9)) for number in (1, 2)]
    lost[1] = msgspec.structs.replace(lost[1], received_ms=RECEIVED_MS + DAY_MS)
    store.apply([project(decided(*lost))])
    assert aged_out(store, event_conflicts, RECEIVED_MS + 91 * DAY_MS) == [1]
    assert [row[2] for row in contents(database_url)["event_conflicts"]] == [event_id(2)]


def test_the_audit_log_goes_with_its_topic_in_slices(store: Store, database_url: str) -> None:
    store.apply([project(audited(*(an_audit(number) for number in range(SLICE_ROWS + 5))))])
    store.apply([project(audited(an_audit(9_999, at_ms=RECEIVED_MS + DAY_MS), partition=3))])
    assert aged_out(store, audit_log, RECEIVED_MS + 400 * DAY_MS + SLICE_ROWS + 5) == [SLICE_ROWS, 5]
    assert len(contents(database_url)["audit_log"]) == 1


def test_metadata_of_an_earlier_admission_goes(store: Store, database_url: str) -> None:
    region = b'{"region":"eu"}'
    again = a_decision(1, metadata=region, received_ms=RECEIVED_MS + DAY_MS)
    store.apply([project(decided(a_decision(1, metadata=region), again))])
    assert len(contents(database_url)["events_metadata"]) == 2
    walk(store, RECEIVED_MS + 4 * DAY_MS)
    assert [row[1] for row in contents(database_url)["events_metadata"]] == [RECEIVED_MS + DAY_MS]


@pytest.mark.requirement("A-020")
def test_a_slice_is_found_by_an_index_so_its_lock_is_short_however_many_events_there_are(
    store: Store, database_url: str
) -> None:
    fill(store, range(2_000), received_ms=RECEIVED_MS)
    asked = expiring((WORKSPACE, "live", "orders"), 5, RECEIVED_MS)._asdict()
    asked |= {"scope": scope_of(WORKSPACE, "live"), "most": SLICE_EVENTS}
    engine = writer_engine(database_url)
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with engine.connect() as connection:
        plan = "\n".join(str(row) for row in connection.execute(text(f"{explain} {OLD_EVENTS}"), asked))
    engine.dispose()
    assert "ix_events_stream" in plan
    assert not re.search(r"\b(SCAN events|Seq Scan|Sort|TEMP B-TREE)\b", plan), plan
