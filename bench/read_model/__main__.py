"""Runs the chosen parts on the chosen databases, prints the issue's rows with their goals, and keeps the figures.

Each part's figures go to bench/results/read_model.json beside those of other parts; the exit code says whether every
goal that was measured was met.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.figures import ROW_HEAD, Figures
from bench.read_model import asking, projecting, records, visible
from bench.read_model.databases import POSTGRESQL, SQLITE
from deploy.local.broker import Broker
from tests.support.kafka_topics import ensure_base_topics
from tests.support.ports import free_port

RESULTS = Path(__file__).parents[1] / "results" / "read_model.json"
PARTS = ("bare", "projection", "reads", "visible")
READ_GOALS_MS = {"GET by id": 10.0, "page of 100": 25.0, "type and time": 50.0}
PROJECTION_GOAL, REBUILD_GOAL = 20_000, 50_000
VISIBLE_P50_MS, VISIBLE_P99_MS = 100.0, 500.0
RATE_KEPT = 0.95
"""As much of the offered rate has to be taken for the goal to be met."""
Row = tuple[str, str, str, bool | None]
"""What was measured, the figure, the goal, and whether it was met (None: there is no goal)."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.read_model", description="The read model's speed.")
    parser.add_argument(
        "parts", nargs="*", default=PARTS, help=f"of {', '.join(PARTS)} (rebuild comes with projection)"
    )
    parser.add_argument("--databases", default=f"{SQLITE},{POSTGRESQL}", help="sqlite,postgresql")
    parser.add_argument("--events", type=int, default=2_000_000, help="on the log, with one attempt each (2000000)")
    parser.add_argument("--held", type=int, default=5_000_000, help="in the read model for the reads (5000000)")
    parser.add_argument("--rate", type=float, default=1_000.0, help="events a second for `visible` (1000)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of that rate (30)")
    asked = parser.parse_args()
    unknown = set(asked.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    for part, database, found in run(asked):
        rows += rows_of(part, database, found)
        save(part, database, found)
    print(f"\n{'':<64} {'figure':>22}  goal")
    for label, figure, goal, met in rows:
        print(f"{label:<64} {figure:>22}  {goal}{'' if met is None else ': met' if met else ': MISSED'}")
    return 0 if all(met is not False for *_, met in rows) else 1


def run(asked: argparse.Namespace) -> Iterator[tuple[str, str, dict[str, Any]]]:
    databases = asked.databases.split(",")
    for part in asked.parts:
        if part == "projection":
            with tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
                yield from catching_up(databases, Path(directory), asked.events)
            continue
        for database in databases:
            with tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
                home = Path(directory)
                if part == "bare":
                    yield part, database, _noted(partial(projecting.bare, database, home))
                elif part == "reads":
                    yield part, database, _noted(partial(asking.reads, database, home, asked.held))
                else:
                    yield part, database, _noted(partial(visible.visible, database, home, asked.rate, asked.seconds))


def catching_up(databases: list[str], home: Path, events: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """One log for all of them."""
    broker = Broker(home / "broker", free_port(), free_port(), heap_mb=512)
    broker.start()
    try:
        ensure_base_topics(broker.bootstrap)
        began = time.monotonic()
        records.produce(broker.bootstrap, events)
        print(f"{events} events and their attempts on the log after {time.monotonic() - began:.0f} s", flush=True)
        for database in databases:
            place = home / database
            place.mkdir()
            yield "projection", database, _noted(partial(projecting.projection, database, broker.bootstrap, place))
    finally:
        broker.kill()


def _noted(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """With the machine's load around it, without which no figure can be judged."""
    before = os.getloadavg()[0]
    found = measure()
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"at": at, "load_before": round(before, 1), "load_after": round(os.getloadavg()[0], 1), **found}


def rows_of(part: str, database: str, found: dict[str, Any]) -> list[Row]:
    print(f"{part}, {database}: {json.dumps({name: found[name] for name in found if name != 'figures'})}", flush=True)
    if part == "bare":
        return [
            (f"bare driver, rows decoded before, {database}", f"{found['events_per_second']} events/s", "", None),
            ("records into rows alone, one process", f"{found['decoded_per_second']} events/s", "", None),
        ]
    if part == "projection":
        rate, rebuilt = found["events_per_second"], found["rebuild_events_per_second"]
        goals = f"≥ {PROJECTION_GOAL}", f"≥ {REBUILD_GOAL}"
        return [
            (f"projection, {database}", f"{rate} events/s", goals[0], rate >= PROJECTION_GOAL),
            (f"rebuild, {database}", f"{rebuilt} events/s", goals[1], rebuilt >= REBUILD_GOAL),
        ]
    if part == "visible":
        return [_row_of_way(way, database, found) for way in visible.WAYS]
    print(f"{'':<20} {ROW_HEAD}")
    rows: list[Row] = []
    for question, figures in found["figures"].items():
        print(f"{question:<20} {Figures(**figures).as_row()}")
        goal = READ_GOALS_MS.get(question)
        label, figure = f"{question} of {found['held']}, {database}", f"p99 {figures['p99_ms']:.1f} ms"
        rows.append((label, figure, "" if goal is None else f"≤ {goal:g}", goal and figures["p99_ms"] <= goal))
    return rows


def _row_of_way(way: str, database: str, found: dict[str, Any]) -> Row:
    of_way = found[way]
    times = of_way["accepted_to_visible"]
    figure = f"p50 {times['p50_ms']:.0f}, p99 {times['p99_ms']:.0f} ms"
    taken = of_way["taken_per_second"]
    lost = of_way["not_seen"] or of_way["not_accepted"] or taken < RATE_KEPT * found["rate"]
    met = times["p50_ms"] <= VISIBLE_P50_MS and times["p99_ms"] <= VISIBLE_P99_MS and not lost
    goal = f"p50 ≤ {VISIBLE_P50_MS:g}, p99 ≤ {VISIBLE_P99_MS:g}"
    return f"accepted → visible, {taken} of {found['rate']:g}/s, {way}, {database}", figure, goal, met


def save(part: str, database: str, found: dict[str, Any]) -> None:
    """Beside what other runs have found of other parts."""
    RESULTS.parent.mkdir(exist_ok=True)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known.setdefault(part, {})[database] = found
    RESULTS.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
