"""An installation of an earlier release (tests/corpus) starts as it was left: its log, tables, positions, read model,
spool, keys and cursors are taken up by the processes of today, and nothing is decided or delivered anew.

The processes' clocks are set back to when the corpus was recorded, so the test says the same at any time to come. The
broker's is not: it keeps what is old, and takes the times of records that are written here from who writes them.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from deploy.local.broker import Broker
from deploy.local.spawn import wait_until
from tests.corpus import adapter, files
from tests.corpus.installation import Kept, kept_records, rows_of
from tests.corpus.story.client import ENV
from tests.support.api import EventsApi
from tests.support.gateway_process import GatewayProcess
from tests.support.kafka_topics import Stored, read_all
from tests.support.ports import free_port
from tests.support.worker import ROOT, Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
GROUPS = ("admission", "control", "delivery", "projection", "lifecycle")
SURFACES = ("events", "work", "spine", "burn")
HOUR_MS = 3_600_000
SHIFTED_CLOCK = ROOT / "tests" / "support" / "shifted_clock"
NEVER = {
    "log.retention.check.interval.ms": str(1 << 40),
    "log.initial.task.delay.ms": str(1 << 40),
    "log.cleaner.enable": "false",
}
"""The broker takes nothing away that is old by its clock."""


@dataclass
class Restarted:
    home: Path
    bootstrap: str
    facts: dict[str, Any]
    workers: dict[str, Worker]
    urls: dict[str, str]

    def api(self, surface: str) -> EventsApi:
        return EventsApi(self.urls[surface], self.facts["keys"][surface])

    def on(self, topic: str) -> list[Stored]:
        return read_all(self.bootstrap, topic)

    def send(self, record: Kept, timestamp: int) -> None:
        """Once more, as it was, at that time; processes that start have the broker set the times of records again."""
        _keep_what_is_old(self.bootstrap)
        producer = Producer({"bootstrap.servers": self.bootstrap})
        producer.produce(
            record.topic,
            record.value,
            record.key,
            partition=record.partition,
            headers=record.headers,  # type: ignore[arg-type]
            timestamp=timestamp,
        )
        assert producer.flush(20) == 0


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Restarted]:
    home = tmp_path / "home"
    files.unpack(files.INSTALLATION, home)
    facts = files.read_json(files.FACTS)
    broker = Broker(home / "kafka", free_port(), free_port(), heap_mb=256, properties=NEVER)
    broker.start()
    try:
        _keep_what_is_old(broker.bootstrap)
        workers, urls = _processes(broker.bootstrap, home, facts)
        try:
            for worker in workers.values():
                worker.start()
            for worker in workers.values():
                worker.wait_until_ready()
            yield Restarted(home, broker.bootstrap, facts, workers, urls)
        finally:
            for worker in workers.values():
                if worker.runs:
                    worker.kill()
    finally:
        broker.kill()


def _keep_what_is_old(bootstrap: str) -> None:
    """Retention counts by the broker's clock, and what is written here has the time that its writer gives it."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    changes = {"message.timestamp.type": "CreateTime", "retention.ms": "-1"}
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            topic,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in changes.items()
            ],
        )
        for topic in admin.list_topics(timeout=20).topics
        if not topic.startswith("__")
    ]
    for done in admin.incremental_alter_configs(resources).values():
        done.result(30)


def _processes(bootstrap: str, home: Path, facts: dict[str, Any]) -> tuple[dict[str, Worker], dict[str, str]]:
    shift = (facts["ended_ms"] - time.time_ns() // 1_000_000) // 1_000 + 60
    settings = {
        **ENV,
        "ATLAS_ALLOW_PRIVATE_TARGETS": "1",
        "ATLAS_RATE_LIMITS": "off",
        "PYTHONPATH": f"{SHIFTED_CLOCK}:{ROOT}",
        "CLOCK_SHIFT_SECONDS": str(shift),
    }
    workers: dict[str, Worker] = {group: Worker(group, bootstrap, home, **settings) for group in GROUPS}
    gateway = GatewayProcess(bootstrap, home, **settings)
    ports = {surface: free_port() for surface in SURFACES}
    gateway.set(ATLAS_SURFACES=",".join(SURFACES), **{f"ATLAS_{name.upper()}_PORT": str(ports[name]) for name in ports})
    workers["gateway"] = gateway
    return workers, {surface: f"http://127.0.0.1:{port}" for surface, port in ports.items()}


def of_topic(topic: str) -> list[Kept]:
    return [one for one in kept_records() if one.topic == topic]


def test_an_installation_goes_on_where_it_was_left(restarted: Restarted, tmp_path: Path) -> None:
    """One after the other, since what comes later changes what is there."""
    a_rebuilt_read_model_has_the_rows_of_the_old_one(restarted, tmp_path)
    nothing_was_decided_or_delivered_anew(restarted)
    reads_have_the_answers_that_they_had(restarted)
    positions_of_requests_are_waited_for(restarted)
    a_key_is_limited_as_it_was(restarted)
    the_spool_reaches_the_log(restarted)
    an_event_of_the_old_log_is_still_a_replay(restarted, "order-2")
    a_command_of_the_old_log_is_still_a_replay(restarted, 1)
    lost_tables_are_made_again_from_the_old_changelogs(restarted)
    an_event_of_the_old_log_is_still_a_replay(restarted, "batch-1")
    a_command_of_the_old_log_is_still_a_replay(restarted, 2)


def nothing_was_decided_or_delivered_anew(restarted: Restarted) -> None:
    """Positions and tables are those of the corpus: what was done is not done again, and no table is rebuilt. Only
    projection, which has read all of the log, has set aside once more what it could not read.
    """
    for topic in ("decisions", "audit", "control", "deliveries", "outcomes"):
        was = {(one.partition, one.offset) for one in of_topic(topic)}
        new = [one for one in restarted.on(topic) if (one.partition, one.offset) not in was]
        assert not new, (topic, [adapter.read(topic, one.key, one.value, one.headers) for one in new[:3]])
    assert {one.value for one in restarted.on("dead-letters")} == {one.value for one in of_topic("dead-letters")}
    for worker in _with_tables(restarted):
        assert worker.metric("atlas_table_open_seconds_count") > 0
        assert worker.metric("atlas_table_recovered_total") == 0


def reads_have_the_answers_that_they_had(restarted: Restarted) -> None:
    for read in restarted.facts["reads"]:
        answer = restarted.api(read["surface"]).call("GET", read["path"])
        assert (answer.status, _comparable(answer.json)) == (200, _comparable(read["body"])), read["path"]


def _comparable(page: dict[str, Any]) -> dict[str, Any]:
    """A cursor holds when it was made: only that there is one."""
    return page | {name: bool(page[name]) for name in ("next_cursor", "nextCursor") if name in page}


def positions_of_requests_are_waited_for(restarted: Restarted) -> None:
    for position in restarted.facts["positions"]:
        assert restarted.api("events").call("GET", "/v1/events", Atlas_After=position).status == 200


def a_key_is_limited_as_it_was(restarted: Restarted) -> None:
    api = EventsApi(restarted.urls["events"], restarted.facts["keys"]["limited"])
    event = {"type": "order.fulfilled", "occurred_at": "2026-05-18T14:22:11Z", "data": {}}
    assert api.post("/v1/events", event | {"stream": "slow"}).status in (403, 404)


def a_rebuilt_read_model_has_the_rows_of_the_old_one(restarted: Restarted, scratch: Path) -> None:
    """And none beside them but of the calls that waited in the spool."""
    database = scratch / "rebuilt.sqlite"
    _projecting_into(restarted, database)
    was = rows_of_the_log(restarted.facts["rows"])

    def differences() -> set[tuple[str, str]]:
        now = rows_of_the_log(rows_of(database))
        return {(table, repr(row)) for table in was for row in was[table] if row not in now[table]} | {
            (table, repr(row))
            for table in now
            for row in now[table]
            if row not in was[table] and table != "model_calls"
        }

    wait_until(lambda: not differences(), 60)
    assert not differences()
    _projecting_into(restarted, restarted.home / "read-model.sqlite")


def _projecting_into(restarted: Restarted, database: Path) -> None:
    projection = restarted.workers["projection"]
    projection.kill()
    projection.set(DATABASE_URL=f"sqlite:///{database}")
    projection.start_until_ready()


def rows_of_the_log(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Without how far projection has read, which goes on."""
    return {table: rows[table] for table in rows if not table.endswith("_positions")}


def an_event_of_the_old_log_is_still_a_replay(restarted: Restarted, key: str) -> None:
    """An hour later by the log's time, under its idempotency key."""
    topic = f"events.{restarted.facts['workspace']}.live.orders"
    event = next(one for one in of_topic(topic) if one.key == key.encode())
    was = {(one.partition, one.offset) for one in restarted.on("decisions")}
    restarted.send(event, event.timestamp + HOUR_MS)

    def new() -> list[Any]:
        records = [one for one in restarted.on("decisions") if (one.partition, one.offset) not in was]
        return [adapter.read("decisions", one.key, one.value, one.headers)[0].value for one in records]

    assert wait_until(lambda: bool(new()), 60)
    assert [(one["outcome"], one["idempotency_key"]) for one in new()] == [("replay", key)]
    assert [one["received_ms"] for one in new()] == [event.timestamp + HOUR_MS]


def a_command_of_the_old_log_is_still_a_replay(restarted: Restarted, number: int) -> None:
    """Under another command's id, as a gateway asks again: the verdict is the one that it had."""
    command = next(one for one in of_topic("commands") if one.value and b"project-1" in one.value)
    reply = adapter.reply_of(dict(command.headers)["atlas-reply"] or b"")
    assert reply is not None and command.value is not None
    before, projects = verdicts(restarted, reply[1]), _projects(restarted)
    again = command._replace(value=adapter.asked_again(command.value, number))
    restarted.send(again, command.timestamp + HOUR_MS)
    assert wait_until(lambda: len(verdicts(restarted, reply[1])) > len(before), 60)
    assert set(verdicts(restarted, reply[1])) == set(before)
    assert _projects(restarted) == projects


def _projects(restarted: Restarted) -> set[bytes | None]:
    return {one.key for one in restarted.on("items") if (one.key or b"").startswith(b"project/")}


def lost_tables_are_made_again_from_the_old_changelogs(restarted: Restarted) -> None:
    for worker in _with_tables(restarted):
        worker.kill()
    shutil.rmtree(restarted.home / "tables")
    for worker in _with_tables(restarted):
        worker.start()
    for worker in _with_tables(restarted):
        worker.wait_until_ready()
        assert worker.metric("atlas_table_recovered_total") > 0


def _with_tables(restarted: Restarted) -> list[Worker]:
    return [restarted.workers[group] for group in ("admission", "control", "delivery", "lifecycle")]


def verdicts(restarted: Restarted, correlation: bytes) -> list[bytes]:
    return [one.value or b"" for one in restarted.on("verdicts") if correlation in (one.value or b"")]


def the_spool_reaches_the_log(restarted: Restarted) -> None:
    wanted = {entry[0] for entry in restarted.facts["spool"]}

    def told() -> set[str]:
        records = [one for one in restarted.on("burn.telemetry") if one.value and not one.value.startswith(b"\x00")]
        read = [adapter.read("burn.telemetry", one.key, one.value, one.headers)[0].value for one in records]
        return {one["id"] for one in read}

    assert wait_until(lambda: wanted <= told(), 60)
