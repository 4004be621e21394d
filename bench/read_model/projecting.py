"""Projection and rebuild: from a log that is there, into each database, beside a bare driver with the same rows."""

import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Table, select

from bench.read_model.databases import SQLITE, database, servers_cpu_seconds
from bench.read_model.records import batches
from deploy.local.spawn import last_lines
from operations.read_model_engine import ReadModelReader
from processors.projection.decide import project
from processors.projection.rebuild import rebuild
from processors.projection.replay import ends_of
from schemas.read_model import attempts, events, key_of, log_positions
from schemas.topics import Topic
from tests.support.log_records import ProjectionInput
from tests.support.worker import Worker

LOOK_SECONDS = 0.25
SILENT_SECONDS_MAX = 30.0
BARE_EVENTS = 200_000
BARE_BATCH = 2_500
TENTHS = 10
MIB = 1024 * 1024


def projection(name: str, bootstrap: str, home: Path) -> dict[str, Any]:
    """The process from its first transaction to the log's end; the slowest tenth of the events beside the whole."""
    ends = ends_of(bootstrap)
    with database(name, home) as url:
        worker = Worker("projection", bootstrap, home, DATABASE_URL=url)
        cpu = servers_cpu_seconds(name)
        worker.start()
        try:
            seen = _watch(url, ends, worker.log)
            process = psutil.Process(worker.pid)
            own_cpu, memory = process.cpu_times(), process.memory_info()
            cpu = servers_cpu_seconds(name) - cpu
        finally:
            worker.stop()
        rebuilt = rebuild(url, bootstrap)
    (began, at_first), (ended, at_last) = seen[0], seen[-1]
    events_written = (at_last - at_first) / 2
    return {
        "events": round(at_last / 2),
        "seconds": round(ended - began, 1),
        "events_per_second": round(events_written / (ended - began)),
        "slowest_tenth_per_second": round(_slowest_tenth(seen) / 2),
        "process_cpu_us_an_event": round((own_cpu.user + own_cpu.system) / at_last * 2e6, 1),
        "server_cpu_us_an_event": round(cpu / at_last * 2e6, 1),
        "process_mib": round(memory.rss / MIB),
        "rebuild_events_per_second": round(rebuilt.records / 2 / rebuilt.seconds),
        "rebuild_seconds": round(rebuilt.seconds, 1),
    }


def _watch(url: str, ends: Mapping[tuple[str, int], int], log: Path) -> list[tuple[float, int]]:
    """When, and how many records stood in the read model; from the first to the last."""
    seen: list[tuple[float, int]] = []
    whole, heard_at = sum(ends.values()), time.monotonic()
    reader = None
    while not seen or seen[-1][1] < whole:
        time.sleep(LOOK_SECONDS)
        try:
            reader = reader or ReadModelReader(url, 1)
            with reader.connect() as connection:
                records = sum(connection.execute(select(log_positions.c.next_offset)).scalars())
        except Exception:  # not made yet
            records = 0
        if records > (seen[-1][1] if seen else 0):
            heard_at = time.monotonic()
            seen.append((heard_at, records))
        elif time.monotonic() - heard_at > SILENT_SECONDS_MAX:
            said = "\n".join(last_lines(log, 20))
            sys.exit(f"projection stood still at {records} of {whole} records\n{said}")
    if reader is not None:
        reader.close()
    return seen


def _slowest_tenth(seen: list[tuple[float, int]]) -> float:
    """Records a second over the slowest tenth of all records."""
    step = (seen[-1][1] - seen[0][1]) / TENTHS
    rates, begun = [], seen[0]
    for at, records in seen[1:]:
        if records - begun[1] >= step:
            rates.append((records - begun[1]) / (at - begun[0]))
            begun = (at, records)
    return min(rates)


Rows = list[list[tuple[Table, list[Any]]]]


def bare(name: str, home: Path) -> dict[str, Any]:
    """The same rows, decoded before, into the two tables with nothing but their keys; by the driver's fastest way. And
    decoding alone, by one process.
    """
    made = list(batches(BARE_EVENTS, BARE_BATCH))
    began = time.perf_counter()
    decoded = _rows(made)
    decoding_seconds = time.perf_counter() - began
    with database(name, home) as url:
        seconds = _bare_sqlite(decoded, home / "bare.sqlite") if name == SQLITE else _bare_postgresql(decoded, url)
    return {
        "events": BARE_EVENTS,
        "events_per_second": round(BARE_EVENTS / seconds),
        "decoded_per_second": round(BARE_EVENTS / decoding_seconds),
    }


def _rows(made: Sequence[tuple[list[bytes], list[bytes]]]) -> Rows:
    found: Rows = []
    for first, (decisions, outcomes) in enumerate(made):
        decided = project([ProjectionInput(Topic.DECISIONS, 0, 0, value) for value in decisions]).rows[events]
        attempted = project([ProjectionInput(Topic.OUTCOMES, 0, 0, value) for value in outcomes]).rows[attempts]
        numbered = [(*row[:-1], first * BARE_BATCH + place) for place, row in enumerate(decided)]
        found.append([(events, numbered), (attempts, attempted)])
    return found


def _bare_sqlite(decoded: Rows, file: Path) -> float:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    for table in (events, attempts):
        names = ", ".join(column.name for column in table.columns)
        connection.execute(f"CREATE TABLE {table.name} ({names}, PRIMARY KEY ({', '.join(key_of(table))}))")
    began = time.perf_counter()
    for batch in decoded:
        connection.execute("BEGIN")
        for table, rows in batch:
            places = ", ".join("?" * len(table.columns))
            connection.executemany(f"INSERT INTO {table.name} VALUES ({places})", rows)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


def _bare_postgresql(decoded: Rows, url: str) -> float:
    import psycopg
    from sqlalchemy import create_engine

    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    for table in (events, attempts):
        with engine.begin() as connection:
            table.create(connection)
            for index in table.indexes:
                if not index.unique:
                    index.drop(connection)
    engine.dispose()
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        connection.commit()
        began = time.perf_counter()
        for batch in decoded:
            for table, rows in batch:
                with cursor.copy(f"COPY {table.name} FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
            connection.commit()
        return time.perf_counter() - began
