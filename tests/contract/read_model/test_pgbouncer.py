"""PostgreSQL behind a PgBouncer in transaction mode: nothing of ours stays on a connection, and nothing is expected to.

With `ignore_startup_parameters=options` PgBouncer drops what a client sets when it connects, and tells nobody; without
it, such a client is refused. Both are run.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import make_url, text

from bench.system import ROOT, System
from deploy.local.spawn import wait_until
from ingest_gateway.read_model import ReadModel
from operations.read_model_engine import reader_engine, schema_writer, writer_engine
from processors.projection.decide import project
from processors.projection.store import Store
from tests.contract.read_model.test_store import contents
from tests.support.api import EventsApi
from tests.support.events import an_event
from tests.support.log_records import WORKSPACE, a_decision, an_outcome, attempted, decided, event_id
from tests.support.pgbouncer import pgbouncer, program
from tests.support.ports import free_port_base

if TYPE_CHECKING:
    from tests.support.postgresql import Server

EVENTS = 20
BESIDE = "beside_the_live_one"

pytestmark = pytest.mark.skipif(program() is None, reason="PgBouncer is not installed here (Debian: pgbouncer)")


@pytest.fixture
def direct_url(postgresql_server: "Server") -> Iterator[str]:
    url = postgresql_server.new_database()
    yield url
    postgresql_server.drop(url)


@pytest.fixture(params=[True, False], ids=["options ignored", "options refused"])
def pooled_url(request: pytest.FixtureRequest, direct_url: str) -> Iterator[str]:
    """One connection for all of PgBouncer's clients: what one leaves on it, the next one finds."""
    with pgbouncer(direct_url, ignore_options=request.param, connections=1) as url:
        yield url


def write(store: Store, first: int = 0) -> None:
    decisions = [a_decision(number, partition=3) for number in range(first, first + EVENTS)]
    outcomes = [an_outcome(number) for number in range(first, first + EVENTS)]
    store.apply(
        [project(decided(*decisions, first_offset=first)), project(attempted(*outcomes, first_offset=first))],
    )


def test_a_schema_of_its_own_is_written_and_the_live_one_left_alone(pooled_url: str, direct_url: str) -> None:
    live = Store(writer_engine(pooled_url))
    live.prepare()
    write(live)
    before = contents(direct_url)
    with psycopg.connect(direct_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {BESIDE}")
    beside = Store(schema_writer(pooled_url, BESIDE))
    beside.prepare()
    beside.drop_indexes()
    write(beside)
    write(beside, EVENTS)
    beside.make_indexes()
    beside.close()
    live.close()
    assert contents(direct_url) == before
    assert len(before["events"]) == EVENTS
    with psycopg.connect(direct_url) as connection:
        rows = connection.execute(f"SELECT count(*) FROM {BESIDE}.events").fetchone()
        listing = connection.execute(
            "SELECT schemaname, count(*) FROM pg_indexes WHERE tablename = 'events' GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert rows == (2 * EVENTS,)
    assert {schema for schema, _ in listing} == {BESIDE, "public"} and len({number for _, number in listing}) == 1


async def test_nothing_of_ours_stays_on_a_connection(pooled_url: str, direct_url: str) -> None:
    """Settings, prepared statements and temporary tables would be the next client's, whoever that is."""
    store = Store(writer_engine(pooled_url))
    store.prepare()
    for _ in range(8):  # more often than a driver asks before it prepares a statement
        write(store)
    reads = ReadModel(pooled_url, threads=1)
    for _ in range(8):
        assert await reads.event(WORKSPACE, "live", event_id(1)) is not None
    await reads.close()
    store.close()
    port = make_url(pooled_url).port
    with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as next_client:
        assert next_client.info.port == port
        for setting in ("search_path", "default_transaction_read_only", "synchronous_commit", "enable_seqscan", "jit"):
            question = "SELECT setting = boot_val OR setting = reset_val FROM pg_settings WHERE name = %s"
            assert next_client.execute(question, (setting,)).fetchone() == (True,), setting
        assert next_client.execute("SELECT name FROM pg_prepared_statements").fetchall() == []
        left = "SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'"
        assert next_client.execute(left).fetchall() == []


def test_readers_cannot_write(pooled_url: str) -> None:
    store = Store(writer_engine(pooled_url))
    store.prepare()
    store.close()
    engine = reader_engine(pooled_url, 1)
    with engine.connect() as connection:
        assert connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
        assert connection.execute(text("SHOW jit")).scalar_one() == "off"
    engine.dispose()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("ignore_options", [True, False], ids=["options ignored", "options refused"])
def test_an_installation_behind_it_serves_is_made_anew_and_compared(
    direct_url: str, tmp_path: Path, ignore_options: bool
) -> None:
    with (
        pgbouncer(direct_url, ignore_options=ignore_options, connections=10) as url,
        System(tmp_path, free_port_base(), {"DATABASE_URL": url}) as atlas,
    ):
        dev = atlas.dev["events"]
        api = EventsApi(dev["url"], dev["live_key"])
        stream = api.post("/v1/event-streams", {"name": "orders"}).json["name"]
        sent = [api.post("/v1/events", an_event(stream=stream, data={"n": n})).json["id"] for n in range(EVENTS)]
        assert [api.call("GET", f"/v1/events/{one}").status for one in sent] == [200] * EVENTS

        def atlas_command(name: str) -> "subprocess.CompletedProcess[str]":
            env = {**os.environ, "DATABASE_URL": url, "ATLAS_HOME": str(tmp_path), "ATLAS_KAFKA": atlas.dev["kafka"]}
            command = [sys.executable, "-m", "cli.main", name]
            return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)

        assert (same := atlas_command("verify")).returncode == 0, same
        with psycopg.connect(direct_url, autocommit=True) as connection:
            connection.execute("DELETE FROM events WHERE id = %s", (sent[0],))
        planted = atlas_command("verify")
        assert planted.returncode == 1 and sent[0] in planted.stdout, planted
        assert (made := atlas_command("rebuild")).returncode == 0, made
        assert wait_until(lambda: api.call("GET", f"/v1/events/{sent[0]}").status == 200, 30)
        assert (after := atlas_command("verify")).returncode == 0, after
