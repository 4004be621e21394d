"""One worker process of ours, of stock Faust and of quixstreams on the same backlog: events a second and a core.

Ours does all of admission's work. The others do its least part: they read the same records, keep each key in RocksDB
with a changelog, and write one short verdict; they open no seal, read no Avro, and compare no payload.
"""

from pathlib import Path
from typing import Any

from bench.admission.filling import fill
from bench.admission.meter import speed_of
from bench.admission.peers.running import run_peer
from bench.admission.world import World, running

GOAL_A_CORE = 50_000
GOAL_FAUST = 15.0
GOAL_QUIX = 2.0
LIMIT_SECONDS = 120.0
FAUST_SHARE = 10  # of the events, since it takes so long over them


def throughput(world: World, directory: Path, count: int, peers: bool = True) -> dict[str, Any]:
    """`keyed`: each event has an Idempotency-Key, and its request waits for a verdict; `unkeyed`: neither."""
    found: dict[str, Any] = {"events": count}
    for name, keyed in (("unkeyed", False), ("keyed", True)):
        stream = world.stream(name)
        fill(stream, world.sealer(), count, keyed=keyed)
        with running(world.worker(directory / name)) as worker:
            found[name] = speed_of(worker, count, LIMIT_SECONDS).as_json()
    if not peers:
        return found
    topic = stream.name
    found["faust"] = run_peer("faust", world.kafka, topic, count // FAUST_SHARE, directory).as_json()
    found["quixstreams"] = run_peer("quixstreams", world.kafka, topic, count, directory).as_json()
    return found | ratios(found)


def ratios(found: dict[str, Any]) -> dict[str, Any]:
    """By CPU time; the goal is held against the slower of our two."""
    ours = min(found[name]["events_a_core_second"] for name in ("unkeyed", "keyed"))
    to_faust = ours / found["faust"]["events_a_core_second"]
    to_quix = ours / found["quixstreams"]["events_a_core_second"]
    return {
        "events_a_core_second": ours,
        "times_faust": round(to_faust, 1),
        "times_quixstreams": round(to_quix, 2),
        "met": ours >= GOAL_A_CORE and to_faust >= GOAL_FAUST and to_quix >= GOAL_QUIX,
    }


def lines(found: dict[str, Any]) -> list[str]:
    head = f"{'one worker process':<38}{'events/s':>10}{'a core':>10}{'µs CPU':>9}{'events':>10}"
    rows = [head]
    names = {
        "unkeyed": "ours, without a key (decision)",
        "keyed": "ours, with a key (decision, verdict)",
        "faust": "stock Faust, RocksDB",
        "quixstreams": "quixstreams",
    }
    for name, label in names.items():
        if one := found.get(name):
            rows.append(
                f"{label:<38}{one['events_a_second']:>10}{one['events_a_core_second']:>10}"
                f"{one['cpu_microseconds_an_event']:>9}{one['events']:>10}"
            )
    if "times_faust" in found:
        rows.append(
            f"ours is {found['times_faust']} × stock Faust (goal {GOAL_FAUST:g}) and {found['times_quixstreams']} × "
            f"quixstreams (goal {GOAL_QUIX:g}), by CPU time; goal {GOAL_A_CORE} a core"
        )
    return rows
