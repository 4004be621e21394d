"""The read model's speed: projection of events with an attempt each, then reads by id, by page and by filter.

`python -m bench.read_model --events 200000 [--postgresql]`. Records are made and encoded before the clock starts; what
is timed is what projection does with them: decode, rows, a transaction every 5,000 records (decoding and SQL one after
the other here; the process overlaps them). Beside it a bare sqlite3 that only puts the same rows into tables with keys.
Results go to bench/results/read_model.json.
"""

import argparse
import asyncio
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import ROW_HEAD, Figures, figures_of
from ingest_gateway.read_model import ReadModel
from ingest_gateway.read_model.event_pages import EventFilter
from operations.read_model_engine import writer_engine
from processors.projection.changes import Changes
from processors.projection.decide import project
from processors.projection.store import Store
from schemas.read_model import attempts, events
from tests.support.log_records import RECEIVED_MS, WORKSPACE, a_decision, an_outcome, attempted, decided, event_id

RESULTS = Path(__file__).parent / "results" / "read_model.json"
BATCH = 2_500
TYPES = [f"order.kind{number}" for number in range(50)]
ASKED = 500


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.read_model", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000, help="with one attempt each (200000)")
    parser.add_argument("--postgresql", action="store_true", help="PostgreSQL too, where it is installed")
    asked = parser.parse_args()
    results: dict[str, Any] = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "events": asked.events}
    results["load_before"] = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as home:
        results["bare sqlite3"] = bare(asked.events, Path(home) / "bare.sqlite")
        results["sqlite"] = measure(f"sqlite:///{home}/read-model.sqlite", asked.events)
    if asked.postgresql:
        with postgresql() as url:
            results["postgresql"] = measure(url, asked.events)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def batches(count: int) -> Iterator[list[Any]]:
    """Batches of decisions and of their outcomes, as records."""
    metadata = b'{"region":"eu-west-1","channel":"web","experiment":"checkout-b"}'
    actor = b'{"type":"user","id":"usr_8842","tenant_id":"tnt_119"}'
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        more = {"metadata": metadata, "actor": actor}
        decisions = [a_decision(n, received_ms=RECEIVED_MS + n, type=TYPES[n % 50], **more) for n in numbers]
        outcomes = [an_outcome(n, received_ms=RECEIVED_MS + n) for n in numbers]
        yield [decided(*decisions, first_offset=first), attempted(*outcomes, first_offset=first)]


def measure(url: str, count: int) -> dict[str, Any]:
    store = Store(writer_engine(url))
    store.prepare()
    decoding = writing = 0.0
    for batch in batches(count):
        begun = time.perf_counter()
        changes = [project(records) for records in batch]
        decoded = time.perf_counter()
        store.apply(changes)
        decoding, writing = decoding + decoded - begun, writing + time.perf_counter() - decoded
    store.close()
    rate = round(count / (decoding + writing))
    overlapped = round(count / max(decoding, writing))
    print(f"{url.split(':')[0]}: {rate} events/s with an attempt each (decode {decoding:.1f} s, SQL {writing:.1f} s;")
    print(f"  {overlapped} events/s where the two overlap fully)")
    reads = asyncio.run(ask(url, count))
    print(f"{'':<12} {ROW_HEAD}")
    for name, figures in reads.items():
        print(f"{name:<12} {figures.as_row()}")
    return {
        "events_per_second": rate,
        "decode_seconds": round(decoding, 2),
        "sql_seconds": round(writing, 2),
        "overlapped_events_per_second": overlapped,
        "reads": {name: figures.as_json() for name, figures in reads.items()},
    }


async def ask(url: str, count: int) -> dict[str, Figures]:
    model, chance = ReadModel(url), random.Random(1)

    def by_id() -> Awaitable[Any]:
        return model.event(WORKSPACE, "live", event_id(chance.randrange(count)))

    def a_page() -> Awaitable[Any]:
        chosen = EventFilter(from_ms=RECEIVED_MS + chance.randrange(count))
        return model.events_page(WORKSPACE, "live", chosen, None, 100)

    def filtered() -> Awaitable[Any]:
        chosen = EventFilter(type=chance.choice(TYPES), from_ms=RECEIVED_MS + chance.randrange(count))
        return model.events_page(WORKSPACE, "live", chosen, None, 100)

    questions = {"GET by id": by_id, "page of 100": a_page, "type, time": filtered}
    figures = {name: figures_of(await _times(question)) for name, question in questions.items()}
    await model.close()
    return figures


async def _times(question: Callable[[], Awaitable[Any]]) -> list[int]:
    taken = []
    for number in range(ASKED + 20):
        begun = time.perf_counter_ns()
        await question()
        if number >= 20:
            taken.append(time.perf_counter_ns() - begun)
    return taken


def bare(count: int, file: Path) -> dict[str, Any]:
    """The same rows, decoded before, by executemany into the two tables with nothing but their keys."""
    rows: list[list[Changes]] = [[project(records) for records in batch] for batch in batches(count)]
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    for table in (events, attempts):
        key = ", ".join(column.name for column in table.primary_key.columns)
        connection.execute(f"CREATE TABLE {table.name} ({', '.join(table.columns.keys())}, PRIMARY KEY ({key}))")
    begun = time.perf_counter()
    for changes in rows:
        connection.execute("BEGIN")
        for table, found in ((events, changes[0].rows[events]), (attempts, changes[1].rows[attempts])):
            places = ", ".join("?" * len(table.columns))
            connection.executemany(f"INSERT INTO {table.name} VALUES ({places})", found)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - begun
    connection.close()
    print(f"bare sqlite3, rows alone: {round(count / seconds)} events/s with an attempt each")
    return {"events_per_second": round(count / seconds)}


@contextmanager
def postgresql() -> Iterator[str]:
    """A server of its own, from the system's package."""
    from tests.support.postgresql import Server, binaries

    programs = binaries()
    if programs is None:
        sys.exit("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    server = Server(programs)
    server.start()
    try:
        yield server.new_database()
    finally:
        server.stop()
        server.remove()


if __name__ == "__main__":
    sys.exit(main())
