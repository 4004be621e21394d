"""What it costs to keep a zombie out: a transaction a batch, an owner's epoch in each record, or nothing but the lease.

The same batches of decision-sized records with one changelog record before them, confirmed as the outbox does: first
the changelog, then the rest. In a transaction both are one step, as they commit together. Each way runs in this
process, one batch after the other, as one partition's batches do; its CPU time is that of this process.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import psutil
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.admission.world import World
from operations.kafka_clients import producer_config

DECISION_BYTES, ENTRY_BYTES = 230, 140
BATCHES = {1: 200, 100: 100, 2_000: 25}
"""By records a batch: how many are measured."""
EPOCH_HEADERS = [("atlas-epoch", (7).to_bytes(8, "big"))]
TOPIC, CHANGELOG = "bench-fences", "bench-fences-changelog"
PARTITIONS = 8
WAIT_SECONDS = 30.0
Batch = Callable[[int], None]


def fences(world: World) -> dict[str, Any]:
    admin = AdminClient({"bootstrap.servers": world.kafka})
    for created in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in (TOPIC, CHANGELOG)]).values():
        created.result(WAIT_SECONDS)
    ways = {"lease": by_lease, "epochs": by_epochs, "transactions": by_transactions}
    rows = {
        name: {str(records): measured(way(world.kafka), records) for records in BATCHES} for name, way in ways.items()
    }
    return {"ways": rows, "producers": memory_of_producers(world.kafka)}


def measured(batch: Batch, records: int) -> dict[str, float]:
    for _ in range(5):
        batch(records)
    times = []
    cpu = time.process_time()
    for _ in range(BATCHES[records]):
        began = time.perf_counter()
        batch(records)
        times.append(time.perf_counter() - began)
    cpu = time.process_time() - cpu
    times.sort()
    return {
        "p50_ms": round(times[len(times) // 2] * 1e3, 2),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 2),
        "cpu_us_a_record": round(cpu / len(times) / records * 1e6, 2),
    }


def by_lease(kafka: str) -> Batch:
    return _in_two_steps(Producer(producer_config(kafka)), {})


def by_epochs(kafka: str) -> Batch:
    """Each record says whose it is; that readers look at it is not in the figure."""
    return _in_two_steps(Producer(producer_config(kafka)), {"headers": EPOCH_HEADERS})


def _in_two_steps(producer: Producer, options: dict[str, Any]) -> Batch:
    def batch(records: int) -> None:
        producer.produce(CHANGELOG, os.urandom(ENTRY_BYTES) * records, partition=3, **options)
        producer.flush(WAIT_SECONDS)
        _produce_all(producer, records, options)
        producer.flush(WAIT_SECONDS)

    return batch


def by_transactions(kafka: str) -> Batch:
    """Its epoch fences: a producer a partition, since partitions move one by one."""
    producer = transactional(kafka)
    producer.init_transactions(WAIT_SECONDS)

    def batch(records: int) -> None:
        producer.begin_transaction()
        producer.produce(CHANGELOG, os.urandom(ENTRY_BYTES) * records, partition=3)
        _produce_all(producer, records, {})
        producer.commit_transaction(WAIT_SECONDS)

    return batch


def transactional(kafka: str) -> Producer:
    """No record may wait longer than its transaction, which the broker ends after a minute."""
    own = {"transactional.id": f"bench-fences-{time.monotonic_ns()}", "message.timeout.ms": 50_000}
    return Producer(producer_config(kafka) | own)


def _produce_all(producer: Producer, records: int, options: dict[str, Any]) -> None:
    value = os.urandom(DECISION_BYTES)
    for _ in range(records):
        producer.produce(TOPIC, value, partition=3, **options)


def memory_of_producers(kafka: str) -> dict[str, float]:
    """What one transactional producer for each of 8 partitions takes instead of one producer for all."""
    mine = psutil.Process()
    before, threads = mine.memory_info().rss, mine.num_threads()
    began = time.perf_counter()
    producers = [transactional(kafka) for _ in range(PARTITIONS)]
    for producer in producers:
        producer.init_transactions(WAIT_SECONDS)
    return {
        "producers": PARTITIONS,
        "init_seconds": round(time.perf_counter() - began, 2),
        "threads": mine.num_threads() - threads,
        "mib": round((mine.memory_info().rss - before) / 2**20, 1),
    }


def lines(found: dict[str, Any]) -> list[str]:
    rows = [f"{'confirming one batch':<16}" + "".join(f"{f'{records} records':<37}" for records in BATCHES)]
    for way, by_size in found["ways"].items():
        cells = (
            f"p50 {row['p50_ms']:>6} p99 {row['p99_ms']:>7} ms {row['cpu_us_a_record']:>7} µs"
            for row in by_size.values()
        )
        rows.append(f"{way:<16}" + "  ".join(cells))
    of = found["producers"]
    rows.append(
        f"a transactional producer a partition: {of['producers']} take {of['init_seconds']} s to begin, "
        f"{of['threads']} threads, {of['mib']} MiB"
    )
    return rows
