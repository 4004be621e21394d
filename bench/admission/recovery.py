"""A table of many live keys: memory of the process that owns it, and its start with and without its directory.

The changelog is filled as admission fills it, packed records of real entries, without deciding every one first.
"""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
from confluent_kafka import Producer

from bench.admission.filling import fill
from bench.admission.world import World, running, wait_for, wait_until_ready
from domain.idempotency import KEY_KEPT_SECONDS
from domain.idempotency.events import KeyEntry
from operations import clock
from operations.kafka_clients import producer_config
from operations.topic_admin import ensure_topics
from processors.admission.agent import TABLE
from processors.runtime.table import TableSpec, packed
from schemas.log_records import SourceRecord
from schemas.topics import TopicSpec
from tests.support.kafka_topics import PARTITIONS
from tests.support.worker import Worker

SPEC = TableSpec(TABLE, f"admission-{TABLE}-changelog", KEY_KEPT_SECONDS)
GOAL_KEPT_SECONDS, GOAL_DELETED_SECONDS, GOAL_RESIDENT_MIB = 3.0, 60.0, 1_024.0
AT_ONCE = 10_000
EVENTS_AFTER = 40_000
LIMIT_SECONDS = 240.0
MIB = 1024 * 1024


def recovery(world: World, directory: Path, keys: int) -> dict[str, Any]:
    """`empty_seconds`: what the process takes to be ready with nothing to recover; it is part of the others."""
    stream = world.stream("many-keys")
    ensure_topics(world.kafka, [TopicSpec(SPEC.changelog, PARTITIONS, SPEC.topic_config())])
    with running(world.worker(directory / "empty")) as worker:
        empty_seconds = ready_after(worker)
        worker.stop()
    fill_changelog(world.kafka, keys)
    home = directory / "worker"
    found: dict[str, Any] = {"keys": keys, "empty_seconds": empty_seconds}
    with running(world.worker(home)) as worker:
        found["deleted_seconds"] = ready_after(worker)
        fill(stream, world.signer(), EVENTS_AFTER, keyed=True)
        most = watched(worker, lambda: worker.metric("atlas_records_total") >= EVENTS_AFTER)
        found |= {"recovered": worker.metric("atlas_table_recovered_total"), "resident_mib": resident_mib(worker)}
        found |= {"resident_most_mib": most, "directory_mib": size_mib(home / "tables")}
        worker.stop()
    for how in ("stopped", "killed"):  # `running` kills
        with running(world.worker(home)) as worker:
            found[f"kept_{how}_seconds"] = ready_after(worker)
            found["resident_kept_mib"] = resident_mib(worker)
    shutil.rmtree(home)
    kept = max(found["kept_stopped_seconds"], found["kept_killed_seconds"])
    met = kept <= GOAL_KEPT_SECONDS and found["deleted_seconds"] <= GOAL_DELETED_SECONDS
    return found | {"met": met and most <= GOAL_RESIDENT_MIB}


def fill_changelog(kafka: str, keys: int) -> None:
    producer = Producer(producer_config(kafka, linger_ms=20))
    for number, changes in enumerate(entries(keys)):
        for key, value in packed(changes):
            while True:
                try:
                    producer.produce(SPEC.changelog, value, key, partition=number % PARTITIONS)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)
    producer.flush(60)


def entries(keys: int) -> Iterator[dict[bytes, bytes | None]]:
    """Of real form and size: only ids and hashes differ."""
    now_ms = clock.now_ms()
    marker = b"0123456789ABCDEFGHJKMNPQRS"
    source = SourceRecord("events.ws_4F9KQ2C7Z1.live.many-keys", secrets.token_urlsafe(16), 3, 123_456)
    entry = msgspec.msgpack.encode(KeyEntry("evt_" + marker.decode(), b"h" * 16, now_ms, [], source))
    head, tail = entry.split(marker)
    for start in range(0, keys, AT_ONCE):
        count = min(AT_ONCE, keys - start)
        random = secrets.token_bytes(count * 16)
        yield {
            random[at : at + 16]: head + random[at : at + 13].hex().encode() + tail for at in range(0, count * 16, 16)
        }


def ready_after(worker: Worker) -> float:
    """Seconds from the process's start until it says that it is ready."""
    began = psutil.Process(worker.pid).create_time()
    wait_until_ready(worker, LIMIT_SECONDS)
    return round(time.time() - began, 2)


def watched(worker: Worker, is_done: Callable[[], bool]) -> float:
    """The most memory that the process had until it was done, in MiB: what it maps of files is not counted as its."""
    most = 0.0

    def done() -> bool:
        nonlocal most
        most = max(most, resident_mib(worker))
        return is_done()

    wait_for(done, LIMIT_SECONDS, "to decide what was sent after recovery")
    return most


def resident_mib(worker: Worker) -> float:
    return round(psutil.Process(worker.pid).memory_info().rss / MIB, 1)


def size_mib(directory: Path) -> float:
    return round(sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / MIB, 1)


def lines(found: dict[str, Any]) -> list[str]:
    return [
        f"{found['keys']:,} keys ({found['recovered']:,.0f} recovered, {found['directory_mib']:.0f} MiB on disk); "
        f"a start without any takes {found['empty_seconds']} s",
        f"directory kept: ready after {found['kept_stopped_seconds']} s (stopped before), "
        f"{found['kept_killed_seconds']} s (killed before); goal {GOAL_KEPT_SECONDS:g}",
        f"directory deleted: ready after {found['deleted_seconds']} s; goal {GOAL_DELETED_SECONDS:g}",
        f"resident: {found['resident_most_mib']} MiB at most after recovery, {found['resident_kept_mib']} MiB after a "
        f"start with its directory; goal {GOAL_RESIDENT_MIB:g}",
    ]
