"""`make bench`: each part against a broker and processes of its own, one after the other; a table and a JSON file.

`PARTS=throughput,latency` picks some. Each part ends within its own time; one that does not is said and the next runs.
The exit code is 1 when a goal was missed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench.admission import fences, latency, many_streams, new_stream, recovery, throughput, two_workers
from bench.admission.world import World, a_world

RESULTS = Path(__file__).parents[1] / "results" / "admission.json"


class Part(NamedTuple):
    """`run` measures, in a directory of its own; `lines` says it to people."""

    run: Callable[[World, Path], dict[str, Any]]
    lines: Callable[[dict[str, Any]], list[str]]


def parts_of(asked: argparse.Namespace) -> dict[str, Part]:
    return {
        "throughput": Part(
            lambda world, home: throughput.throughput(world, home, asked.events, asked.peers), throughput.lines
        ),
        "latency": Part(lambda world, home: latency.latency(world, home, asked.seconds), latency.lines),
        "recovery": Part(lambda world, home: recovery.recovery(world, home, asked.keys), recovery.lines),
        "new-stream": Part(new_stream.new_stream, new_stream.lines),
        "many-streams": Part(
            lambda world, home: many_streams.many_streams(world, home, asked.streams, asked.events // 3),
            many_streams.lines,
        ),
        "two-workers": Part(
            lambda world, home: two_workers.two_workers(world, home, asked.events // 2), two_workers.lines
        ),
        "fences": Part(lambda world, _home: fences.fences(world), fences.lines),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.admission", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default="", help="which, with commas between (all)")
    parser.add_argument("--events", type=int, default=300_000, help="of the throughput (300000)")
    parser.add_argument("--keys", type=int, default=10_000_000, help="live, of the recovery (10000000)")
    parser.add_argument("--streams", type=int, default=1_000, help="of the many (1000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each rate of the latency (10)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="ours alone")
    asked = parser.parse_args()
    parts = parts_of(asked)
    names = [name for name in asked.parts.split(",") if name] or list(parts)
    if unknown := set(names) - parts.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    found = {name: one_part(name, parts[name]) for name in names}
    save(found)
    return 0 if all(part.get("met", True) for part in found.values()) else 1


def one_part(name: str, part: Part) -> dict[str, Any]:
    """What went wrong is a result as well: the other parts still run."""
    load = os.getloadavg()[0]
    began = time.monotonic()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory,
            a_world(Path(directory) / "home") as world,
        ):
            found = part.run(world, Path(directory))
    except Exception as error:
        traceback.print_exc()
        found = {"failed": f"{type(error).__name__}: {error}", "met": False}
    found |= {"load_before": round(load, 2), "took_seconds": round(time.monotonic() - began, 1)}
    print(f"\n{name} (load before {load:.1f}, took {found['took_seconds']:.0f} s)", flush=True)
    for line in [found["failed"]] if "failed" in found else part.lines(found):
        print("  " + line, flush=True)
    if "met" in found:
        print("  goals met" if found["met"] else "  GOAL MISSED", flush=True)
    return found


def save(found: dict[str, Any]) -> None:
    """Parts that did not run this time keep what stands there of them."""
    RESULTS.parent.mkdir(exist_ok=True)
    before = json.loads(RESULTS.read_text())["parts"] if RESULTS.exists() else {}
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    now = {name: {"at": at, **part} for name, part in found.items()}
    RESULTS.write_text(json.dumps({"cores": os.cpu_count(), "parts": before | now}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
