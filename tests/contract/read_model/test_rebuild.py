"""`atlas rebuild` and `atlas verify` on both databases, from a real log: one step, killed at each, compared."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from sqlalchemy import text

from ingest_gateway.read_model import ReadModel
from ingest_gateway.read_model.event_pages import EventFilter
from operations.kafka_clients import producer_config
from operations.read_model_engine import ReadModelReader, writer_engine
from processors.projection import replay as replay_module
from processors.projection.decide import project
from processors.projection.rebuild import rebuild
from processors.projection.replay import ends_of, replay
from processors.projection.store import Replaced, Store
from processors.projection.verify import verify
from schemas.topics import Topic
from tests.contract.read_model.test_store import contents
from tests.support.brokers import a_broker
from tests.support.kafka_topics import PARTITIONS, ensure_base_topics
from tests.support.log_records import WORKSPACE, a_decision, an_audit, an_outcome, decided, event_id
from tests.support.pgbouncer import pgbouncer, program

if TYPE_CHECKING:
    from tests.support.postgresql import Server

pytestmark = pytest.mark.slow  # minutes: `make test-slow`

ROOT = Path(__file__).parents[3]
EVENTS = 300
STEPS = ("make", "read", "index", "expire", "hold", "swap", "commit", "clean")
REBUILD_AND_DIE = """
import os, signal, sys
from processors.projection.rebuild import rebuild

def step(name):
    if name == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

rebuild(sys.argv[1], sys.argv[2], step)
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker with events received now, so that no stream's retention is over, with attempts and audit records."""
    broker = a_broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    ensure_base_topics(broker.bootstrap)
    producer = Producer(producer_config(broker.bootstrap))
    for number in range(EVENTS):
        partition = number % PARTITIONS
        decision = a_decision(number, partition=partition, received_ms=2**42 + number, metadata=b'{"region":"eu"}')
        producer.produce(Topic.DECISIONS, decision.encode(), partition=partition)
        outcome = an_outcome(number, status=("delivered", "exhausted")[number % 2], received_ms=2**42 + number)
        producer.produce(Topic.OUTCOMES, outcome.encode(), partition=partition)
    producer.produce(Topic.DECISIONS, b"nothing to read", partition=0)
    producer.produce(Topic.AUDIT, an_audit(1).encode(), partition=2)
    assert producer.flush(30) == 0
    yield broker.bootstrap
    broker.kill()


@pytest.fixture(params=["sqlite", "postgresql", "postgresql behind pgbouncer"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'read model.sqlite'}"
        return
    server: Server = request.getfixturevalue("postgresql_server")
    url = server.new_database()
    if request.param == "postgresql":
        yield url
    elif program() is None:
        pytest.skip("PgBouncer is not installed here (Debian: apt-get install pgbouncer)")
    else:
        with pgbouncer(url, ignore_options=True) as pooled_url:
            yield pooled_url
    server.drop(url)


@pytest.fixture
def live(log: str, store: Store) -> Store:
    """The live read model, with all of the log."""
    replay(log, store, ends_of(log))
    return store


@pytest.mark.requirement("F52")
def test_the_rebuilt_one_takes_its_place_whole_and_the_writer_notices(log: str, live: Store, database_url: str) -> None:
    before = contents(database_url)
    assert rebuild(database_url, log).records == 2 * EVENTS + 2
    assert contents(database_url) == before
    with pytest.raises(Replaced):
        live.apply([project(decided(a_decision(9_999), first_offset=10_000))])
    assert contents(database_url) == before
    again = Store(writer_engine(database_url))
    again.prepare()
    again.apply([project(decided(a_decision(9_999), first_offset=10_000))])
    assert len(contents(database_url)["events"]) == EVENTS + 1
    again.close()


@pytest.mark.requirement("F52")
def test_what_other_processes_read_is_the_same(
    log: str, live: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a log that is long."""
    before = contents(database_url)
    monkeypatch.setattr(replay_module, "MANY_RECORDS", 0)
    assert rebuild(database_url, log).records == 2 * EVENTS + 2
    assert contents(database_url) == before
    assert verify(database_url, log) == []


@pytest.mark.requirement("F52", "A-085")
async def test_a_cursor_from_before_goes_on_and_finds_what_comes_late_after_it(
    log: str, live: Store, database_url: str
) -> None:
    for _ in range(5):
        live.apply([])  # the live one has counted on
    reads = ReadModel(database_url)
    first = await reads.events_page(WORKSPACE, "live", EventFilter(), None, EVENTS // 2)
    rebuild(database_url, log)
    again = Store(writer_engine(database_url))
    again.prepare()
    late = a_decision(9_998, received_ms=2**42)  # among the first that were shown
    again.apply([project(decided(late, first_offset=10_000))])
    again.close()
    second = await reads.events_page(WORKSPACE, "live", EventFilter(), first.next, EVENTS)
    await reads.close()
    shown = [row.id for row in (*first.rows, *second.rows)]
    assert sorted(shown) == sorted([*(event_id(number) for number in range(EVENTS)), event_id(9_998)])


@pytest.mark.requirement("F52")
async def test_readers_follow_and_see_all_events_at_every_step(log: str, live: Store, database_url: str) -> None:
    reader = ReadModelReader(database_url, 1)
    seen: dict[str, int] = {}

    def look(step: str) -> None:
        if step == "commit":
            return  # PostgreSQL's readers wait there for a moment, and the commit would wait for this one
        with reader.connect() as connection:
            seen[step] = connection.execute(text("SELECT count(*) FROM events")).scalar_one()

    rebuild(database_url, log, look)
    look("afterwards")
    reader.close()
    assert set(seen.values()) == {EVENTS}
    reads = ReadModel(database_url)
    assert await reads.event(WORKSPACE, "live", event_id(7)) is not None
    await reads.close()


@pytest.mark.requirement("F52")
def test_killed_at_any_step_the_read_model_is_whole_and_the_next_rebuild_is_not_hindered(
    log: str, live: Store, database_url: str
) -> None:
    before = contents(database_url)
    for step in STEPS:
        ended = subprocess.run([sys.executable, "-c", REBUILD_AND_DIE, database_url, log, step], cwd=ROOT, check=False)
        assert ended.returncode == -9, step
        assert contents(database_url) == before, step
    rebuild(database_url, log)
    assert contents(database_url) == before
    assert verify(database_url, log) == []


@pytest.mark.requirement("F49")
def test_verify_names_what_differs(log: str, live: Store, database_url: str) -> None:
    assert verify(database_url, log) == []
    engine = writer_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events WHERE id = :id"), {"id": event_id(5)})
        connection.execute(text("UPDATE attempts SET status = 'disabled' WHERE event_id = :id"), {"id": event_id(6)})
    engine.dispose()
    found = verify(database_url, log)
    sides = {(difference.table, difference.side, difference.row[2]) for difference in found}
    assert sides >= {
        ("events", "log", event_id(5)),
        ("attempts", "log", event_id(5)),
        ("attempts", "live", event_id(6)),
        ("attempts", "log", event_id(6)),
    }
    assert contents(database_url)["events"][5][2] == event_id(6)  # nothing was put right
