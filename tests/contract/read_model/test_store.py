"""The one writer of the read model, on both databases: all or nothing, and done twice is done once."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import Engine, create_engine, select, text

from operations.read_model_engine import reader_engine, writer_engine
from processors.projection.changes import Changes, ProjectedRecord
from processors.projection.decide import project
from processors.projection.store import DatabaseAway, Replaced, RowsRefused, Store
from processors.projection.upserts import COPIED_ROWS_MIN
from schemas.read_model import ROWS, EventRow, LogPosition, events, key_of
from tests.support.log_records import (
    RECEIVED_MS,
    TOPIC,
    a_decision,
    a_stream,
    an_audit,
    an_outcome,
    attempted,
    audited,
    controlled,
    decided,
    delivery_id,
    event_id,
)

if TYPE_CHECKING:
    from tests.support.postgresql import Server

DAY_MS = 86_400_000
Contents = dict[str, list[tuple[Any, ...]]]


def contents(database_url: str) -> Contents:
    """Every row of every table, but for the order in which they were written."""
    engine = reader_engine(database_url, 1)
    with engine.connect() as connection:
        found = {
            table.name: [
                tuple(row)
                for row in connection.execute(
                    select(*(column for column in table.columns if column.name != "number")).order_by(
                        *(table.c[name] for name in key_of(table))
                    )
                )
            ]
            for table in ROWS
        }
    engine.dispose()
    return found


def a_busy_hour(seed: int) -> list[Sequence[ProjectedRecord]]:
    """Batches of all kinds over three partitions of each topic, as projection reads them."""
    chance = random.Random(seed)
    batches: list[Sequence[ProjectedRecord]] = []
    for partition in range(3):
        offset = 0
        for first in range(0, 60, 20):
            numbers = [100 * partition + number for number in range(first, first + 20)]
            decisions = [
                a_decision(
                    chance.choice([number, max(0, number - 3)]),
                    partition=partition,
                    received_ms=RECEIVED_MS + number,
                    outcome=chance.choice(["admitted", "admitted", "replay", "conflict"]),
                    original_id=event_id(number + 1),
                    routes=["wf_one", "wf_two"][: chance.randint(0, 2)],
                    metadata=msgspec.json.encode({"region": chance.choice(["eu", "us"]), "trial": True}),
                )
                for number in numbers
            ]
            outcomes = [
                an_outcome(number, attempt=chance.randint(1, 2), status=chance.choice(["delivered", "retry_scheduled"]))
                for number in numbers
            ]
            batches.append(decided(*decisions, partition=partition, first_offset=offset))
            batches.append(attempted(*outcomes, partition=partition, first_offset=offset))
            offset += 20
        batches.append(audited(*(an_audit(100 * partition + number) for number in range(5)), partition=partition))
        streams = [a_stream(100 * partition + number) for number in range(5)]
        batches.append(controlled(*streams, partition=partition))
        batches.append(controlled(f"stream/{streams[2].id}".encode(), partition=partition, first_offset=5))
    return batches


@pytest.mark.requirement("F49")
def test_applying_any_batches_again_changes_nothing(store: Store, database_url: str) -> None:
    changes = [project(batch) for batch in a_busy_hour(seed=1)]
    for one in changes:
        store.apply([one])
    before = contents(database_url)
    again = random.Random(2).sample(changes, k=len(changes))
    store.apply(again[:7])
    for one in again:
        store.apply([one])
    assert contents(database_url) == before
    assert all(before[table] for table in ("events", "attempts", "events_metadata", "event_conflicts", "entities"))


def test_how_batches_are_grouped_makes_no_difference(store: Store, database_url: str, tmp_path: Path) -> None:
    changes = [project(batch) for batch in a_busy_hour(seed=3)]
    store.apply(changes)
    other_url = f"sqlite:///{tmp_path / 'other.sqlite'}"
    other = Store(writer_engine(other_url))
    other.prepare()
    for one in changes:
        other.apply([one])
    other.close()
    assert contents(database_url) == contents(other_url)


@pytest.mark.requirement("F49")
def test_rows_and_positions_come_together_or_not_at_all(store: Store, database_url: str) -> None:
    good = project(decided(a_decision(1)))
    store.apply([good])
    before = contents(database_url)
    impossible = Changes(LogPosition("decisions", 4, 2**70))  # no database takes it; it is the last row written
    with pytest.raises(RowsRefused):
        store.apply([project(decided(a_decision(2), first_offset=1)), impossible])
    assert contents(database_url) == before
    assert store.positions() == {("decisions", 3): 1}


def test_many_rows_at_once_of_which_some_are_there_already(store: Store, database_url: str) -> None:
    """PostgreSQL copies new rows straight into their tables, and takes another way where one is not new."""
    metadata = b'{"region":"eu"}'
    numbers = range(COPIED_ROWS_MIN + 40)
    some = [a_decision(number, metadata=metadata) for number in numbers[:10]]
    every = [a_decision(number, metadata=metadata, received_ms=RECEIVED_MS + number % 2) for number in numbers]
    store.apply([project(decided(*some)), project(attempted(an_outcome(3)))])
    outcomes = [
        an_outcome(number, status="retry_scheduled", received_ms=RECEIVED_MS + number % 2) for number in numbers
    ]
    for first_offset in (10, 500):
        changes = project(decided(*every, first_offset=first_offset)), project(attempted(*outcomes, first_offset=10))
        store.apply(changes)
        found = contents(database_url)
        assert [(row[2], row[5]) for row in found["events"]] == [
            (event_id(number), RECEIVED_MS + number % 2) for number in numbers
        ]
        assert {row[16] for row in found["events"]} == {"retried"}
        assert {row[7] for row in found["attempts"]} == {"retry_scheduled"}
        assert len(found["events_metadata"]) == len(numbers) + 5


def test_positions_say_where_reading_begins(store: Store) -> None:
    assert store.positions() == {}
    store.apply([project(decided(a_decision(1), a_decision(2), first_offset=40)), project(attempted(an_outcome(1)))])
    assert store.positions() == {("decisions", 3): 42, ("outcomes", 5): 1}


@pytest.mark.requirement("F51")
def test_NUL_control_characters_and_any_script_go_in_and_come_out(store: Store, database_url: str) -> None:
    metadata = '{"nul":"\\u0000","tab":"\\t","text":"Grüße 日本 \U0001f980","quote":"\\"\'; DROP TABLE events"}'
    store.apply(
        [
            project(decided(a_decision(1, metadata=metadata.encode(), type="a.b\x00"))),
            project(attempted(an_outcome(1, error_message="\x00", response_excerpt=bytes(range(256))))),
        ]
    )
    (event,) = (EventRow(*row) for row in contents(database_url)["events"])
    assert (event.metadata, event.type) == (metadata, "a.b\ufffd")
    assert bytes(contents(database_url)["attempts"][0][-2]) == bytes(range(256))


@pytest.mark.requirement("F51")
def test_metadata_and_actor_as_large_as_a_record_can_be(store: Store, database_url: str) -> None:
    large = b'{"a":"' + b"x" * 3_000_000 + b'"}'
    store.apply([project(decided(a_decision(1, metadata=large, actor=large)))])
    (event,) = (EventRow(*row) for row in contents(database_url)["events"])
    assert (event.metadata, event.actor) == (large.decode(), large.decode())


@pytest.mark.requirement("F51")
@pytest.mark.parametrize("bad_numbers", [(7,), (0,), (39,), (3, 4, 31)])
def test_the_rows_that_a_database_refuses_are_found_and_nothing_is_written(
    store: Store, database_url: str, bad_numbers: tuple[int, ...]
) -> None:
    records = decided(*(a_decision(number) for number in range(40)))

    def with_bad_rows(some: Sequence[ProjectedRecord], without: Sequence[int] = ()) -> Changes:
        changes = project(some, without)
        changes.rows[events][:] = [
            EventRow(*row)._replace(data_bytes=2**70) if row[2] in {event_id(n) for n in bad_numbers} else row
            for row in changes.rows[events]
        ]
        return changes

    with pytest.raises(RowsRefused):
        store.apply([with_bad_rows(records)])
    assert store.refused(records, with_bad_rows) == set(bad_numbers)
    assert not any(contents(database_url).values())
    store.apply([with_bad_rows(records, without=bad_numbers)])
    assert len(contents(database_url)["events"]) == 40 - len(bad_numbers)
    assert store.positions() == {("decisions", 3): 40}


def test_admitted_again_it_is_one_row_with_the_newest_admission_in_whatever_order_they_come(
    store: Store, database_url: str
) -> None:
    first = a_decision(1, received_ms=RECEIVED_MS, offset=1)
    again = a_decision(1, received_ms=RECEIVED_MS + DAY_MS, offset=900, partition=6)
    outcomes = [
        an_outcome(1, delivery_id=delivery_id(1)),
        an_outcome(1, delivery_id=delivery_id(2), received_ms=RECEIVED_MS + DAY_MS),
    ]
    store.apply([project(decided(again, partition=6)), project(decided(first)), project(attempted(*outcomes))])
    (event,) = (EventRow(*row) for row in contents(database_url)["events"])
    assert (event.received_ms, event.source_partition, event.source_offset) == (RECEIVED_MS + DAY_MS, 6, 900)
    assert len(contents(database_url)["attempts"]) == 2


def test_of_two_records_about_one_attempt_the_later_on_the_log_counts(store: Store, database_url: str) -> None:
    running = an_outcome(1, status="in_progress", completed_ms=RECEIVED_MS + 99_000)
    done = an_outcome(1, status="delivered")
    store.apply([project(attempted(running, done))])
    store.apply([project(attempted(running))])
    assert [row[7] for row in contents(database_url)["attempts"]] == ["delivered"]


@pytest.mark.parametrize(
    ("story", "first", "then", "next_offset"),
    [
        ("on", a_decision(4), a_decision(5), 6),
        ("decided once more", a_decision(5), a_decision(4), 6),
        ("made anew", a_decision(900), a_decision(0, topic_id="topic-2"), 1),
    ],
)
def test_source_positions_over_transactions(
    store: Store, database_url: str, story: str, first: Any, then: Any, next_offset: int
) -> None:
    for offset, decision in enumerate((first, then)):
        store.apply([project(decided(decision, first_offset=offset))])
    ((topic, partition, _topic_id, reached, _log_offset),) = contents(database_url)["source_positions"]
    assert (topic, partition, reached) == (TOPIC, 3, next_offset)


@pytest.mark.requirement("F50")
@pytest.mark.parametrize("lost", ["UPDATE log_positions SET next_offset = 1", "DELETE FROM log_positions"])
def test_a_database_that_lost_what_it_had_taken_is_noticed_and_filled_again(
    store: Store, database_url: str, lost: str
) -> None:
    """PostgreSQL may, in a crash; and a backup may be put in its place."""
    store.apply([project(decided(a_decision(1), a_decision(2)))])
    store.check()
    engine = writer_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(lost))
    engine.dispose()
    with pytest.raises(Replaced):
        store.check()
    with pytest.raises(Replaced):
        store.apply([project(decided(a_decision(3), first_offset=2))])
    assert len(contents(database_url)["events"]) == 2
    again = Store(writer_engine(database_url))
    again.prepare()
    again.apply([project(decided(a_decision(1), a_decision(2), a_decision(3)))])
    assert again.positions() == {("decisions", 3): 3}
    again.close()


@pytest.mark.requirement("F50")
def test_a_locked_database_takes_nothing_and_the_same_batch_later(tmp_path: Path) -> None:
    path = tmp_path / "read-model.sqlite"
    store = Store(_impatient(writer_engine(f"sqlite:///{path}")))
    store.prepare()
    changes = project(decided(a_decision(1)))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseAway, match="locked"):
            store.apply([changes])
        other.execute("ROLLBACK")
    store.apply([changes])
    assert len(contents(f"sqlite:///{path}")["events"]) == 1
    store.close()


@pytest.mark.requirement("F50")
def test_a_restarted_server_is_away_and_then_there(postgresql_server: "Server") -> None:
    address = postgresql_server.new_database()
    store = Store(writer_engine(address))
    store.prepare()
    store.apply([project(decided(a_decision(1)))])
    _on_disk(address)
    postgresql_server.stop()
    try:
        with pytest.raises(DatabaseAway):
            store.apply([project(decided(a_decision(2), first_offset=1))])
    finally:
        postgresql_server.start()
    store.apply([project(decided(a_decision(2), first_offset=1))])
    assert store.positions() == {("decisions", 3): 2}
    store.close()


def _on_disk(address: str) -> None:
    """Our writer does not wait for the disk; a checkpoint does."""
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.exec_driver_sql("CHECKPOINT")
    engine.dispose()


def _impatient(engine: Engine) -> Engine:
    """Waits for a lock for a millisecond."""
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=1")
        connection.rollback()
    return engine
