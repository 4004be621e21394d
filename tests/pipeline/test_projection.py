"""Projection as a process, with a real broker: killed, locked out, its database gone; the read model is the log's.

What it must come to is computed by the same pure `project` and a store that sees every record once, in order.
"""

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from sqlalchemy import text

from deploy.local.spawn import wait_until
from operations.kafka_clients import producer_config
from operations.read_model_engine import reader_engine, writer_engine
from processors.projection.changes import ProjectedRecord
from processors.projection.decide import project
from processors.projection.store import Store
from schemas.records import DeadLetter
from schemas.topics import Topic
from tests.contract.read_model.test_store import Contents, contents
from tests.support.brokers import a_broker
from tests.support.kafka_topics import PARTITIONS, Stored, ensure_base_topics, read_all
from tests.support.log_records import ProjectionInput, a_decision, an_outcome, event_id
from tests.support.worker import Worker

pytestmark = pytest.mark.slow  # minutes: `make test-slow`

SETTLE_SECONDS = 60.0
KILLS = int(os.environ.get("PROJECTION_KILLS", "3"))
LOAD_EVENTS, LOAD_PAUSE_SECONDS = 50, 0.1
KILLED_AFTER_SECONDS_MAX = 0.5  # some tens of transactions
NUMBERS = 1_000_000
KEPT_MS = 2**42  # no stream's retention is over for that long
MADE_TABLES = ("events", "attempts", "event_conflicts")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker for this file: the group `projection` is one a broker, so the shared one will not do."""
    broker = a_broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    ensure_base_topics(broker.bootstrap)
    yield broker.bootstrap
    broker.kill()


@pytest.fixture
def projection(broker: str, database_url: str, tmp_path: Path) -> Iterator[Worker]:
    worker = Worker("projection", broker, tmp_path, DATABASE_URL=database_url)
    worker.start_until_ready()
    yield worker
    worker.stop()


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """SQLite's, where a test does not ask for PostgreSQL's."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path / 'read-model.sqlite'}"
        return
    pytest.importorskip("psycopg", reason="psycopg, the driver for PostgreSQL, is not installed here")
    from tests.support import postgresql

    programs = postgresql.binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    server = postgresql.Server(programs)
    server.start()
    yield server.new_database()
    server.stop()
    server.remove()


def append(bootstrap: str, seed: int, count: int) -> None:
    """`count` decisions and as many outcomes over all partitions, with replays, conflicts, retries among them."""
    producer = Producer(producer_config(bootstrap, linger_ms=5))
    chance = random.Random(seed)
    for number in range(seed * NUMBERS, seed * NUMBERS + count):
        _append_one(producer, chance, number)
    assert producer.flush(SETTLE_SECONDS) == 0


def append_until(ended: threading.Event, bootstrap: str, seed: int) -> None:
    """The same for as long as it takes, some thousands a second."""
    producer = Producer(producer_config(bootstrap, linger_ms=5))
    chance = random.Random(seed)
    number = seed * NUMBERS
    while not ended.wait(LOAD_PAUSE_SECONDS):
        for _ in range(LOAD_EVENTS):
            _append_one(producer, chance, number)
            number += 1
        producer.poll(0)
    assert producer.flush(SETTLE_SECONDS) == 0


def _append_one(producer: Producer, chance: random.Random, number: int) -> None:
    partition = chance.randrange(PARTITIONS)
    decision = a_decision(
        number,
        partition=partition,
        received_ms=KEPT_MS + number,
        outcome=chance.choice(["admitted"] * 8 + ["replay", "conflict"]),
        original_id=event_id(number),
    )
    producer.produce(Topic.DECISIONS, decision.encode(), partition=partition)
    earlier = number - chance.randrange(3)
    outcome = an_outcome(
        earlier,
        attempt=chance.randint(1, 2),
        status=chance.choice(["retry_scheduled", "delivered"]),
        received_ms=KEPT_MS + earlier,
        completed_ms=KEPT_MS + earlier + 25,
    )
    producer.produce(Topic.OUTCOMES, outcome.encode(), event_id(earlier))


def the_log_says(bootstrap: str, directory: Path) -> Contents:
    """The read model of all that stands on the log, made in one go."""
    url = f"sqlite:///{directory / 'expected.sqlite'}"
    store = Store(writer_engine(url))
    store.prepare()
    for topic in (Topic.DECISIONS, Topic.OUTCOMES):
        by_partition: dict[int, list[Stored]] = {}
        for stored in read_all(bootstrap, topic):
            by_partition.setdefault(stored.partition, []).append(stored)
        for partition, records in by_partition.items():
            records.sort(key=lambda stored: stored.offset)
            log: Sequence[ProjectedRecord] = [
                ProjectionInput(topic, partition, stored.offset, stored.value) for stored in records
            ]
            store.apply([project(log, without=store.refused(log, project))])
    store.close()
    return contents(url)


def settled(database_url: str, expected: Contents) -> bool:
    return wait_until(lambda: positions(database_url) == expected["log_positions"], SETTLE_SECONDS)


def positions(database_url: str) -> list[tuple[Any, ...]]:
    return asked(database_url, "SELECT * FROM log_positions ORDER BY topic, partition")


def shown(database_url: str) -> int:
    """How many events there are."""
    return int(asked(database_url, "SELECT count(*) FROM events")[0][0])


def asked(database_url: str, question: str) -> list[tuple[Any, ...]]:
    engine = reader_engine(database_url, 1)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(question))]
    engine.dispose()
    return rows


def has_more(database_url: str, events: int) -> bool:
    return shown(database_url) > events


@pytest.mark.requirement("F49")
@pytest.mark.parametrize(("database_url", "seed"), [("sqlite", 1), ("postgresql", 8)], indirect=["database_url"])
def test_killed_again_and_again_under_load_it_leaves_no_gap_and_no_double(
    broker: str, projection: Worker, database_url: str, seed: int, tmp_path: Path
) -> None:
    ended = threading.Event()
    load = threading.Thread(target=append_until, args=[ended, broker, seed])
    load.start()
    chance = random.Random(7)
    for _ in range(KILLS):
        assert wait_until(partial(has_more, database_url, shown(database_url)), SETTLE_SECONDS)
        time.sleep(chance.uniform(0, KILLED_AFTER_SECONDS_MAX))
        projection.kill()
        projection.start()
    ended.set()
    load.join()
    expected = the_log_says(broker, tmp_path)
    assert settled(database_url, expected)
    assert contents(database_url) == expected
    assert all(expected[table] for table in MADE_TABLES)


def test_a_read_model_taken_away_is_made_anew_from_the_log_whatever_the_group_has_committed(
    broker: str, projection: Worker, database_url: str, tmp_path: Path
) -> None:
    append(broker, 2, 500)
    expected = the_log_says(broker, tmp_path)
    assert settled(database_url, expected)
    assert projection.stop() == 0  # its group's offsets are at the end now
    for file in tmp_path.glob("read-model.sqlite*"):
        file.unlink()
    projection.start_until_ready()
    assert settled(database_url, expected)
    assert contents(database_url) == expected


@pytest.mark.requirement("F50")
def test_locked_out_it_is_not_ready_and_goes_on_with_what_came_meanwhile(
    broker: str, projection: Worker, database_url: str, tmp_path: Path
) -> None:
    append(broker, 3, 100)
    assert settled(database_url, the_log_says(broker, tmp_path))
    with closing(sqlite3.connect(tmp_path / "read-model.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        append(broker, 4, 300)
        assert wait_until(lambda: "read_model" in projection.missing(), SETTLE_SECONDS)
        other.execute("ROLLBACK")
    expected = the_log_says(broker, tmp_path)
    assert settled(database_url, expected)
    assert contents(database_url) == expected
    projection.wait_until_ready()


@pytest.mark.requirement("F18", "F51")
def test_what_no_row_can_be_made_of_goes_to_the_dead_letters_alone(
    broker: str, projection: Worker, database_url: str, tmp_path: Path
) -> None:
    unreadable = [b"", b"{}", a_decision(topic="commands").encode(), a_decision(event_id="e" * 256).encode()]
    refused = a_decision(5_000_001, partition=0, offset=2**63 - 1).encode()  # its next offset is no 64-bit number
    producer = Producer(producer_config(broker))
    for number, value in enumerate([*unreadable, refused]):
        producer.produce(Topic.DECISIONS, a_decision(5_000_010 + number, partition=0).encode(), partition=0)
        producer.produce(Topic.DECISIONS, value, partition=0)
    producer.produce(Topic.DECISIONS, a_decision(5_000_020, partition=0).encode(), partition=0)
    assert producer.flush(SETTLE_SECONDS) == 0
    end = max(stored.offset for stored in read_all(broker, Topic.DECISIONS) if stored.partition == 0) + 1
    assert wait_until(lambda: ("decisions", 0, end) in positions(database_url), SETTLE_SECONDS)

    ids = {row[2] for row in contents(database_url)["events"]}
    assert {event_id(number) for number in (*range(5_000_010, 5_000_015), 5_000_020)} <= ids
    assert event_id(5_000_001) not in ids
    letters = [DeadLetter.decode(stored.value) for stored in read_all(broker, Topic.DEAD_LETTERS)]
    assert {(letter.reason, letter.value) for letter in letters} == {
        *(("unreadable", value) for value in unreadable),
        ("row_refused", refused),
    }


def test_an_idle_projection_shows_a_record_at_once(broker: str, projection: Worker, database_url: str) -> None:
    append(broker, 6, 1)
    assert wait_until(lambda: len(contents(database_url)["log_positions"]) > 0, SETTLE_SECONDS)
    assert projection.metric("atlas_projection_transaction_records_count") > 0
