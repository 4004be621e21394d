"""One worker process of ours, of stock Faust and of quixstreams on the same backlog: events a second and a core.

Ours does all of admission's work. The others do its least part: they read the same records, keep each key in RocksDB
with a changelog, and write one short verdict; they check no signature, read no Avro, and compare no payload.
"""

from pathlib import Path
from typing import Any

from bench.admission.filling import fill
from bench.admission.meter import speed_of
from bench.admission.peers.running import PeerFailed, run_peer
from bench.admission.world import World, running

GOAL_A_CORE = 50_000
GOALS = {"faust": 15.0, "quixstreams": 2.0}
LABELS = {
    "unkeyed": "ours, without a key (decision)",
    "keyed": "ours, with a key (decision, verdict)",
    "faust": "stock Faust, RocksDB",
    "quixstreams": "quixstreams",
}
LIMIT_SECONDS = 120.0
FAUST_SHARE = 20  # of the events, since it takes so long over them


def throughput(world: World, directory: Path, count: int, peers: bool = True) -> dict[str, Any]:
    """`keyed`: each event has an Idempotency-Key, and its request waits for a verdict; `unkeyed`: neither."""
    found: dict[str, Any] = {"events": count}
    for name, keyed in (("unkeyed", False), ("keyed", True)):
        stream = world.stream(name)
        fill(stream, world.signer(), count, keyed=keyed)
        with running(world.worker(directory / name)) as worker:
            found[name] = speed_of(worker, count, LIMIT_SECONDS).as_json()
    if not peers:
        return found
    for name, events in (("faust", count // FAUST_SHARE), ("quixstreams", count)):
        try:
            found[name] = run_peer(name, world.kafka, stream.name, events, directory).as_json()
        except PeerFailed as error:  # ours was measured all the same
            found.setdefault("failed_peers", {})[name] = str(error)
    return found | ratios(found)


def ratios(found: dict[str, Any]) -> dict[str, Any]:
    """By CPU time; the goal is held against the slower of our two."""
    ours = min(found[name]["events_a_core_second"] for name in ("unkeyed", "keyed"))
    times = {name: ours / found[name]["events_a_core_second"] for name in GOALS if name in found}
    met = ours >= GOAL_A_CORE and all(times.get(name, 0.0) >= goal for name, goal in GOALS.items())
    rounded = {name: round(ratio, 2) for name, ratio in times.items()}
    return {"events_a_core_second": ours, "times": rounded, "met": met}


def lines(found: dict[str, Any]) -> list[str]:
    head = f"{'one worker process':<38}{'events/s':>10}{'a core':>10}{'µs CPU':>9}{'events':>10}"
    rows = [head]
    for name, label in LABELS.items():
        if one := found.get(name):
            rows.append(
                f"{label:<38}{one['events_a_second']:>10}{one['events_a_core_second']:>10}"
                f"{one['cpu_microseconds_an_event']:>9}{one['events']:>10}"
            )
    for name, ratio in found.get("times", {}).items():
        rows.append(f"ours is {ratio} × {LABELS[name]} by CPU time (goal {GOALS[name]:g})")
    for name, why in found.get("failed_peers", {}).items():
        rows.append(f"{LABELS[name]} gave no figure: {why[:300]}")
    return [*rows, f"goal {GOAL_A_CORE} a core"]
