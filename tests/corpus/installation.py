"""Records a whole installation: `atlas up` lives through tests/corpus/story and is stopped; then all it left is
taken: its directory as it is, each record of its topics, what it sent to endpoints, what it answers to reads.
"""

import asyncio
import base64
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from confluent_kafka import Consumer, TopicPartition

from bench.system import System
from deploy.local.broker import Broker
from tests.corpus import adapter, files
from tests.corpus.story import live_a_day
from tests.corpus.story.burn import call_a_model
from tests.corpus.story.client import ENV, SECRET, Story
from tests.support.openai_server import openai_server
from tests.support.ports import free_port, free_port_base
from tests.support.provider_stub import provider_stub
from tests.support.receiver import Receiver

SPOOL = "edge-spool"
STAND_STILL_SECONDS = 30.0
NOT_KEPT = ("logs", "up.log", "dev.json", "atlas.lock", "faust", "prometheus")
"""Of a home: what says something of the run and nothing to the next start."""


EVENT_TYPES = ("code.done", "code.analysis.done", "task.created", "task.updated", "project.created", "unknown")
"""Which of them are subscribed to is asked of the view of `control`."""


class Kept(NamedTuple):
    """A record as it stood on its topic."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Kept":
        headers = [(name, _bytes(value)) for name, value in row["headers"]]
        place = row["topic"], row["partition"], row["offset"], row["timestamp"]
        return cls(*place, _bytes(row["key"]), _bytes(row["value"]), headers)

    def read(self) -> list[adapter.Read]:
        return adapter.read(self.topic, self.key, self.value, self.headers)


def kept_records() -> list[Kept]:
    return [Kept.of(row) for row in files.read_lines(files.RECORDS)]


def control_of(records: list[Kept]) -> list[tuple[bytes, bytes | None]]:
    return [(one.key or b"", one.value) for one in records if one.topic == "control"]


def spooled(home: Path) -> list[Any]:
    """What the spools under a copy of the home hold; it is taken out of them."""
    with tempfile.TemporaryDirectory(prefix="atlas-spool-") as scratch:
        shutil.copytree(home / SPOOL, Path(scratch) / SPOOL)
        return adapter.spooled(Path(scratch) / SPOOL)


def record() -> None:
    with tempfile.TemporaryDirectory(prefix="atlas-corpus-") as scratch:
        home = Path(scratch) / "home"
        facts = asyncio.run(_lived_through(home))
        facts["ended_ms"] = time.time_ns() // 1_000_000
        records = _dumped(home)
        files.write_lines(files.RECORDS, records)
        kept = [Kept.of(row) for row in records]
        files.write_lines(files.READ, [[read[:2] for read in one.read()] for one in kept])
        facts["control"] = adapter.control_summary(control_of(kept), EVENT_TYPES)
        facts["spool"] = spooled(home)
        facts["master key"] = (home / "master.key").read_text().strip()
        facts["callers secret"] = SECRET
        facts["secrets"] = _secrets(bytes.fromhex(facts["master key"]), facts)
        facts["topics"] = sorted({record["topic"] for record in records})
        facts["rows"] = rows_of(home / "read-model.sqlite")
        _strip(home)
        files.pack(home, files.INSTALLATION)
        files.write_json(files.FACTS, facts)


async def _lived_through(home: Path) -> dict[str, Any]:
    with Receiver() as receiver:
        async with provider_stub() as provider, openai_server() as llm, aiohttp.ClientSession() as session:
            env = {
                **ENV,
                "ATLAS_EDGE_PROVIDERS": f'{{"openai": "{provider.url}/v1"}}',
                "ATLAS_LLM_BASE_URL": llm.url,
                "ATLAS_LLM_API_KEY": "key-of-the-provider",
            }
            with System(home, free_port_base(), env) as atlas:
                story = Story(atlas, session, receiver, provider, llm)
                await live_a_day(story)
                reads = [
                    {"surface": surface, "path": path, "body": (await story.ask(surface, "GET", path)).json}
                    for surface, path in story.reads
                ]
                spool = await _with_a_spool(story, atlas, home)
        sent = [{"path": one.path, "headers": one.headers, "body": one.body.decode()} for one in receiver.requests]
    shutil.rmtree(home / SPOOL, ignore_errors=True)
    shutil.copytree(spool, home / SPOOL)
    told = {"workspace": story.workspace, "keys": story.keys, "positions": story.positions}
    return {**told, "reads": reads, "sent": sent}


async def _with_a_spool(story: Story, atlas: System, home: Path) -> Path:
    """A copy of what a gateway keeps on disk while the broker says nothing."""
    broker = _child(atlas.pid, "kafka.Kafka")
    os.killpg(broker, signal.SIGSTOP)
    calling = asyncio.create_task(call_a_model(story))
    deadline = time.monotonic() + STAND_STILL_SECONDS
    try:
        while not any(path.stat().st_size for path in (home / SPOOL).glob("*/*.seg")):
            assert time.monotonic() < deadline, "nothing came into the spool"
            await asyncio.sleep(0.05)
        copied = home.parent / "spool"
        shutil.copytree(home / SPOOL, copied)
    finally:
        os.killpg(broker, signal.SIGCONT)
    await calling
    return copied


def _child(pid: int, what: str) -> int:
    """The process under `atlas up` whose command line says so."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if parent == pid and what in command:
            return int(stat.parent.name)
    raise AssertionError(f"{what} does not run under {pid}")


def _dumped(home: Path) -> list[dict[str, Any]]:
    """Every record of every topic, by its place."""
    broker = Broker(home / "kafka", free_port(), free_port(), heap_mb=256)
    broker.start()
    try:
        return sorted(_records(broker.bootstrap), key=lambda one: (one["topic"], one["partition"], one["offset"]))
    finally:
        broker.stop()


def _records(bootstrap: str) -> Iterator[dict[str, Any]]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "corpus",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    topics = consumer.list_topics(timeout=20).topics
    places = [
        TopicPartition(name, partition, 0)
        for name, topic in topics.items()
        for partition in topic.partitions
        if not name.startswith("__")
    ]
    consumer.assign(places)
    ended = 0
    while ended < len(places):
        message = consumer.poll(20)
        assert message is not None, "the broker says nothing"
        if message.error():
            ended += 1
            continue
        yield {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "timestamp": message.timestamp()[1],
            "key": _text(message.key()),
            "value": _text(message.value()),
            "headers": [[name, _text(value)] for name, value in message.headers() or []],  # type: ignore[union-attr]
        }
    consumer.close()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def rows_of(database: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of the tables that are made of the log, in an order of their own; without `number`, which says in which
    transaction a row was written.
    """
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        return {
            table: sorted((_row(row) for row in connection.execute(f"SELECT * FROM {table}")), key=repr)
            for table in adapter.rows_of_log()
        }
    finally:
        connection.close()


def _row(row: sqlite3.Row) -> dict[str, Any]:
    return {name: _cell(row[name]) for name in sorted(row.keys()) if name != "number"}


def _cell(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _secrets(master_key: bytes, facts: dict[str, Any]) -> dict[str, list[str]]:
    """By the path of an endpoint those that what it got may be signed with, of all that have it."""
    found: dict[str, set[str]] = {one["path"]: set() for one in facts["sent"]}
    for read in files.read_lines(files.READ):
        for types, entity in read:
            url = entity["state"].get("url", "") if "Entity" in types and isinstance(entity["state"], dict) else ""
            path = "/" + url.rpartition("/")[2]
            if path in found:
                state = entity["state"]
                own = [SECRET] if state.get("sealed_secret") else []
                versions = state.get("secret_version", 1)
                found[path] |= set(own or adapter.secrets_of_target(master_key, entity["id"], versions))
    return {path: sorted(secrets) for path, secrets in found.items()}


def _strip(home: Path) -> None:
    for name in NOT_KEPT:
        path = home / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for path in home.glob("**/*.log.1"):
        path.unlink()
    (home / "kafka" / "broker.log").unlink(missing_ok=True)
    (home / "kafka" / "server.properties").unlink(missing_ok=True)
    for path in home.glob("tables/*/*/*/LOG*"):
        path.unlink()
