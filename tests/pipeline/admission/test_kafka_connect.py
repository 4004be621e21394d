"""docs/kafka-connect.md with the real Kafka Connect and Debezium: each configuration of deploy/connect with the page's
own SQL, and the outbox through two kills of the worker.
"""

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.local.spawn import wait_until
from domain.events.direct_records import data_of_admitted
from domain.events.spine_records import data_of
from schemas.records import Decision
from tests.pipeline.admission.conftest import MakeStream, Written
from tests.support import postgresql
from tests.support.kafka_connect import CONFIGURATIONS, ROOT, ConnectMissing, ConnectWorker, class_path
from tests.support.kafka_topics import Stored, read_all
from tests.support.streams import LiveStream
from tests.support.worker import Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PAGE = ROOT / "docs/kafka-connect.md"
ROWS = 400
Url = str


@pytest.fixture(scope="module")
def connect() -> None:
    try:
        class_path()
    except ConnectMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def server() -> Iterator[postgresql.Server]:
    programs = postgresql.binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    server = postgresql.Server(programs, {"wal_level": "logical"})
    server.start()
    yield server
    server.stop()
    server.remove()


@pytest.fixture
def database(server: postgresql.Server) -> Iterator[Url]:
    url = server.new_database()
    yield url
    with psycopg.connect(url, autocommit=True) as connection:  # a database with slots can't be dropped
        free = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND active"
        assert wait_until(lambda: connection.execute(free).fetchone() == (0,), 60)
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
        )
    server.drop(url)


@pytest.fixture
def a_worker(connect: None, database: Url, broker: str, tmp_path: Path) -> Iterator[Callable[..., ConnectWorker]]:
    made: list[ConnectWorker] = []

    def make(connectors: list[str], stream: LiveStream, **environment: str) -> ConnectWorker:
        at = psycopg.conninfo.conninfo_to_dict(database)
        told = {"PGHOST": at["host"], "PGPORT": at["port"], "PGUSER": at["user"], "PGDATABASE": at["dbname"]}
        told |= {"KAFKA": broker, "WORKSPACE": stream.topic.workspace, "STREAM": stream.topic.stream}
        named = {name: str(value) for name, value in told.items()}
        made.append(ConnectWorker(tmp_path, connectors, named | {"PGPASSWORD": "any"} | environment))
        return made[-1]

    yield make
    for worker in made:
        worker.kill()


def sql_of(section: str) -> tuple[str, str]:
    """The page's table and its insert."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    table, insert = re.findall(r"```sql\n(.*?)```", text, re.S)
    return table, insert


def run(database: Url, *statements: str) -> None:
    with psycopg.connect(database) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def records_of(broker: str, stream: LiveStream) -> dict[tuple[int, int], Stored]:
    return {(record.partition, record.offset): record for record in read_all(broker, stream.name)}


def test_outbox_rows_through_two_kills_of_the_worker_are_admitted_once_and_byte_for_byte(
    a_worker: Callable[..., ConnectWorker],
    database: Url,
    broker: str,
    admission: Worker,
    a_stream: MakeStream,
    written: Written,
) -> None:
    """Connect saves its offsets once a minute, so each next life of the worker sends again what the last one sent."""
    stream = a_stream("orders-prod", routes=["wf_one"])
    run(database, sql_of("An outbox, the event whole in its payload")[0])
    worker = a_worker(["outbox"], stream)
    payloads = {number: payload_of(number) for number in range(ROWS)}
    lives = 3
    for life in range(lives):
        worker.start(offset_flush_interval_ms="60000")
        with psycopg.connect(database, autocommit=True) as connection:
            for number in range(life, ROWS, lives):
                insert = "INSERT INTO event_outbox (aggregatetype, aggregateid, payload) VALUES (%s, %s, %s::json)"
                connection.execute(insert, ("orders-prod", f"ord_{number}", payloads[number]))
        written.decisions(stream, sum(len(range(one, ROWS, lives)) for one in range(life + 1)))
        if life < lives - 1:
            worker.kill()

    decisions: list[Decision] = []

    def all_admitted() -> bool:
        decisions[:] = written.decisions(stream, ROWS)
        return sum(decision.outcome == "admitted" for decision in decisions) >= ROWS

    assert wait_until(all_admitted, 60), f"{len(decisions)} decisions"
    records = records_of(broker, stream)
    assert wait_until(lambda: len(written.decisions(stream, ROWS)) == len(records_of(broker, stream)), 60)
    decisions = written.decisions(stream, ROWS)
    outcomes = [decision.outcome for decision in decisions]
    print(f"{len(outcomes)} records, {outcomes.count('admitted')} admitted, {outcomes.count('replay')} replays")
    assert set(outcomes) == {"admitted", "replay"}, "the kills made repeats, and nothing else"
    admitted = [decision for decision in decisions if decision.outcome == "admitted"]
    assert len(admitted) == len({decision.event_id for decision in admitted}) == ROWS
    assert len(written.deliveries(stream, ROWS)) == ROWS
    values = sorted(records[one.partition, one.offset].value or b"" for one in admitted)
    assert values == sorted(payload.encode() for payload in payloads.values()), "byte for byte"


def payload_of(number: int) -> str:
    """What any step between would change: a number's zeros, white space, escapes, empty and mixed arrays."""
    data = f'{{"n": {number},  "total": 1.10, "big": 12345678901234567890, "e": 1e2, "none": null, "list": [ ]'
    data += ', "mixed": [1, "a", {"b": null}], "text": "J\\u006fsé \\/ 漢字 😀"}'
    times = f'"occurred_at":"2026-05-18T14:22:11.{number:06d}+02:00"'
    return f'{{"type":"order.created", {times},"idempotency_key":"{uuid.uuid4()}", "data": {data} }}'


def lines_of(value: bytes) -> Any:
    return json.loads(value)["line"]


FILE_LINE = (
    b'{"type":"order.created","occurred_at":"2026-05-18T14:00:00Z",'
    b'"data":{"total": 1.10},"idempotency_key":"of-a-file"}'
)
SECTIONS: dict[str, tuple[str, Callable[[list[bytes]], bool]]] = {
    "outbox": (
        "An outbox, the event whole in its payload",
        lambda data: [json.loads(one) for one in data] == [{"order_id": "ord_1"}],
    ),
    "outbox-bytes": ("An outbox of bytes", lambda data: data == [b'{"order_id":"ord_2","total":1.10}']),
    "outbox-columns": (
        "An outbox by columns",
        lambda data: [json.loads(one) for one in data] == [{"order_id": "ord_3", "parcels": 2}],
    ),
    "table": (
        "A table without an outbox",
        lambda data: (
            [(row["id"], row["total"], row["state"]) for row in sorted(map(json.loads, data), key=itemgetter("__lsn"))]
            == [("ord_4", "12.30", "new"), ("ord_4", "12.30", "paid")]
        ),
    ),
    "outbox-spine": ("An outbox to the spine", lambda data: data == [b'{"order_id": "ord_5",  "total": 1.10}']),
}


def test_every_configuration_gives_the_events_that_the_page_says(
    a_worker: Callable[..., ConnectWorker],
    database: Url,
    broker: str,
    admission: Worker,
    a_stream: MakeStream,
    written: Written,
    tmp_path: Path,
) -> None:
    """All in one worker, each on the stream that its rows name, told apart by what the page's SQL writes."""
    everywhere = a_stream("orders-prod")
    spine = a_stream("spine", workspace=everywhere.topic.workspace)
    events, lines = tmp_path / "events.ndjson", tmp_path / "lines.txt"
    events.write_bytes(FILE_LINE + b"\n")
    lines.write_text("one line\nanother\n")
    names = sorted(path.stem for path in CONFIGURATIONS.glob("*.properties") if path.stem != "worker")
    assert set(names) == {*SECTIONS, "file", "lines"}, "each configuration is run"
    run(database, *(sql_of(section)[0] for section, _ in SECTIONS.values()))
    worker = a_worker(names, everywhere, EVENTS_FILE=str(events), LINES_FILE=str(lines))
    worker.start()
    run(database, *(sql_of(section)[1] for section, _ in SECTIONS.values()))

    deadline = time.monotonic() + 60
    while len(decisions := written.decisions(everywhere, 8)) < 8:
        assert time.monotonic() < deadline
    decisions += written.decisions(spine, 1)
    assert [decision.outcome for decision in decisions] == ["admitted"] * 9, [d.reason for d in decisions]
    data = data_by_type(broker, everywhere, decisions) | data_by_type(broker, spine, decisions, "spine ")
    assert sorted(map(lines_of, data["log.line"])) == ["another", "one line"]
    both = data.pop("order.created")
    assert b'{"total": 1.10}' in both
    both.remove(b'{"total": 1.10}')
    found = {
        "outbox": both,
        "outbox-bytes": data["order.paid"],
        "outbox-columns": data["order.shipped"],
        "table": data["order.changed"],
        "outbox-spine": data["spine order.created"],
    }
    for name, (_, holds) in SECTIONS.items():
        assert holds(found[name]), (name, found[name])


def data_by_type(
    broker: str, stream: LiveStream, decisions: list[Decision], prefix: str = ""
) -> dict[str, list[bytes]]:
    records = records_of(broker, stream)
    read = data_of if stream.topic.stream == "spine" else data_of_admitted
    found: dict[str, list[bytes]] = {}
    for decision in decisions:
        if decision.topic == stream.name:
            record = records[decision.partition, decision.offset]
            found.setdefault(f"{prefix}{decision.type}", []).append(read(record.value or b"", record.headers))
    return found
