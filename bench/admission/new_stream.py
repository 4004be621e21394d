"""A stream is made while events flow on others: how long those stand still, and when its first event is decided.

The stream is made known as the control process does it: its topic, then its entity on `control`.
"""

import time
from pathlib import Path
from typing import Any

from bench.admission.filling import fill
from bench.admission.steady import Decided, Steady, longest_gap
from bench.admission.world import World, running, wait_for

RATE = 5_000
BEFORE_SECONDS, AFTER_SECONDS = 4.0, 4.0
ROUNDS = 3
GOAL_STALL_SECONDS, GOAL_FIRST_SECONDS = 1.0, 2.0
LIMIT_SECONDS = 60.0


def new_stream(world: World, directory: Path) -> dict[str, Any]:
    """`first_seconds`: from the entity on `control` to the decision on the event that was written right after it."""
    others = [world.stream(f"other-{number}") for number in range(3)]
    with running(world.worker(directory / "worker")) as worker:
        worker.wait_until_ready()
        steady, decided = Steady(world, others, RATE), Decided(world.kafka)
        decided.start()
        steady.start()
        time.sleep(BEFORE_SECONDS)
        made: dict[str, float] = {}
        for number in range(ROUNDS):
            stream = world.stream(f"new-{number}", announce=False)
            made[stream.name] = time.monotonic()
            stream.announce()
            fill(stream, world.signer(), 1, keyed=False)
            time.sleep(AFTER_SECONDS)
        sent = steady.stop() + ROUNDS
        wait_for(lambda: len(decided.seen) >= sent, LIMIT_SECONDS, f"to decide {sent} events")
        seen = decided.stop()
    places = {(topic, partition, offset) for _at, topic, partition, offset in seen}
    first = {topic: at for at, topic, _partition, _offset in reversed(seen) if topic in made}
    firsts = [round(first[topic] - at, 2) for topic, at in made.items()]
    began = min(made.values())
    quiet = [at for at, topic, *_ in seen if topic not in made and at < began]
    busy = [at for at, topic, *_ in seen if topic not in made and at >= began - 0.5]
    stall = longest_gap(busy)
    return {
        "rate": RATE,
        "events": sent,
        "decided": len(places),
        "longest_gap_before_seconds": round(longest_gap(quiet[len(quiet) // 2 :]), 3),
        "longest_stall_seconds": round(stall, 3),
        "first_seconds": firsts,
        "met": stall <= GOAL_STALL_SECONDS and max(firsts) <= GOAL_FIRST_SECONDS and len(places) == sent,
    }


def lines(found: dict[str, Any]) -> list[str]:
    return [
        f"{found['rate']} events/s on 3 streams, {len(found['first_seconds'])} streams made meanwhile",
        f"longest stall of the others {found['longest_stall_seconds']} s (before: "
        f"{found['longest_gap_before_seconds']} s); goal {GOAL_STALL_SECONDS:g}",
        f"first event of the new ones decided after {found['first_seconds']} s; goal {GOAL_FIRST_SECONDS:g}",
        f"{found['decided']} of {found['events']} events decided",
    ]
