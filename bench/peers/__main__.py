"""`make bench-peers`: Atlas's gateway, that of an older commit, a bare one and Benthos, in rounds by turns.

All of it runs on two processor cores, on free ports, in a folder that is removed. From the environment:
  BASE      the older commit; empty: it is left out
  ROUNDS    how often each takes its turn (3)
  SECONDS   of each measurement (6)
  COUNT     events of the NDJSON part (1000000), or as many as a gateway takes in 30 s
  REST_SECONDS   for which a gateway is watched at rest (20)
  PARTS     what is measured, by commas: rest, single, half, batch-100, batch-500, batch-1000, ndjson, keyed (all)
  OUT       where the JSON goes (atlas-bench-peers.json in the temporary folder)
The exit code: 0 where all goals are met, 1 where one is missed or a row is invalid, 2 where the load generator is
missing or the environment can't be used.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.latency import keep_to_cores
from bench.peers import wrk
from bench.peers.events import HALF, NDJSON, PARTS, SINGLE
from bench.peers.gateways import ATLAS, BARE, BEFORE
from bench.peers.goals import Goal, held
from bench.peers.rounds import Plan, measure
from bench.peers.table import Found, faults_in, lines, spreads_of
from bench.system import ROOT

CORES = 2
UNITS = "µs: CPU time an event, which is also the CPU seconds of a million events; median (least–most) of the rounds"


@dataclass(frozen=True)
class Asked:
    plan: Plan
    out: Path


class Unusable(Exception):
    """The environment; the message says why."""


def main() -> int:
    try:
        asked = read(os.environ)
    except Unusable as error:
        print(f"bench-peers: {error}", file=sys.stderr)
        return 2
    if not wrk.is_installed():
        print(wrk.MISSING, file=sys.stderr)
        return 2
    cores, load, began = keep_to_cores(CORES), os.getloadavg(), time.time()
    with tempfile.TemporaryDirectory(prefix="atlas-bench-peers-") as home:
        found = measure(asked.plan, Path(home))
    goals = held(found, ATLAS, BARE, BEFORE)
    head = (
        f"{asked.plan.rounds} rounds of {asked.plan.seconds:g} s on {cores} cores; "
        f"load before: {', '.join(f'{one:.2f}' for one in load)}; took {time.time() - began:.0f} s"
    )
    print("\n".join([head, UNITS, "", *lines(found, (BARE, BEFORE)), "", *(goal.shown() for goal in goals)]))
    save(asked, found, goals, {"at": began, "load_before": load, "cores": cores})
    invalid = any(faults_in(rounds) for rows in found.values() for rounds in rows.values())
    return 1 if invalid or any(goal.met is False for goal in goals) else 0


def read(env: Mapping[str, str]) -> Asked:
    """Raises Unusable."""
    parts = tuple(part for part in env.get("PARTS", "").split(",") if part) or tuple(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        raise Unusable(f"PARTS knows {', '.join(PARTS)}, not {', '.join(unknown)}")
    count = _whole(env, "COUNT", 1_000_000)
    plan = Plan(
        base=env.get("BASE", "").strip(),
        rounds=_whole(env, "ROUNDS", 3),
        seconds=_whole(env, "SECONDS", 6),
        requests=max(1, round(count / NDJSON.size)),
        rest_seconds=_whole(env, "REST_SECONDS", 20),
        parts=tuple(part for part in PARTS if part in parts or (part == SINGLE.name and HALF in parts)),
    )
    return Asked(plan, Path(env.get("OUT") or Path(tempfile.gettempdir()) / "atlas-bench-peers.json"))


def _whole(env: Mapping[str, str], name: str, otherwise: int) -> int:
    text = env.get(name) or str(otherwise)
    if not text.isdecimal() or int(text) < 1:
        raise Unusable(f"{name} must be a whole number from 1 on, not {text!r}")
    return int(text)


def save(asked: Asked, found: Found, goals: list[Goal], run: Mapping[str, object]) -> None:
    """Every round's figures, and the medians of them."""
    rows = {
        part: {
            gateway: {
                "median": {name: asdict(spread) for name, spread in spreads_of(rounds).items()},
                "rounds": [asdict(one) for one in rounds],
            }
            for gateway, rounds in of_part.items()
        }
        for part, of_part in found.items()
    }
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(str(run["at"]))))
    content = {
        **run,
        "at": at,
        "commit": _commit(),
        **asdict(asked.plan),
        "rows": rows,
        "goals": list(map(asdict, goals)),
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    print(f"\nall rounds: {asked.out}")


def _commit() -> str:
    """Of this checkout, with a + where files differ from it."""
    said = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    return said.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
