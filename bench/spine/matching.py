"""100,000 subscriptions of random patterns over 10,000 orgs: what an event costs to match, beside a loop over them.

The view of `control` is the one that admission asks, filled by its own records. An event meets its own org's only. The
loop asks each of the 100,000 whether it is of the org, and of those each pattern by a compiled regular expression.
Times are of the processor, so that what else runs on the machine does not count.
"""

import random
import re
import time

from domain.entities.control_view import ControlView
from schemas.entities import Subscription, SubscriptionSurface

ORGS, EACH = 10_000, 10
GOAL_US = 50.0
EVENTS, LOOPED = 100_000, 20
WORDS = [f"{first}{second}" for first in ("code", "lead", "order", "task") for second in "abcdefghijklmnopqrstuvwxyz"]


def run() -> int:
    chance = random.Random(1)
    began = time.perf_counter()
    view, subscriptions = _filled(chance)
    print(f"{len(subscriptions):,} subscriptions over {ORGS:,} orgs applied in {time.perf_counter() - began:.1f} s")
    events = [(f"ws_{chance.randrange(ORGS)}", _type(chance)) for _ in range(EVENTS)]
    made_us, _ = _matched(view, [(f"ws_{number}", "code.x") for number in range(ORGS)])
    first_us, found = _matched(view, events)
    again_us, _ = _matched(view, events)
    naive_us, naive_found = _looped(subscriptions, events[:LOOPED])
    assert naive_found == found[:LOOPED], "the loop finds the same"
    print(f"matches an event: {sum(map(len, found)) / EVENTS:.2f} of {EACH}")
    print(f"an org's first event, for which its trie is made: {made_us:9.1f} µs")
    print(f"an event of a type that the org has not had:      {first_us:9.1f} µs")
    print(f"an event of a type that it has had:               {again_us:9.1f} µs")
    print(f"a loop over all subscriptions:                    {naive_us:9.0f} µs")
    print(f"the loop costs {naive_us / first_us:,.0f} × the trie, {naive_us / again_us:,.0f} × where the type is known")
    met = first_us <= GOAL_US
    print(f"goal ≤ {GOAL_US:g} µs an event: {'met' if met else 'MISSED'}")
    return 0 if met else 1


def _filled(chance: random.Random) -> tuple[ControlView, list[Subscription]]:
    view, subscriptions = ControlView(), []
    for number in range(ORGS * EACH):
        subscription = Subscription(
            id=f"sub_{number}",
            workspace=f"ws_{number % ORGS}",
            environment="live",
            created_ms=number,
            name="The subscription",
            url="https://acme.example/",
            surface=SubscriptionSurface.SPINE,
            patterns=[_pattern(chance) for _ in range(chance.randrange(1, 4))],
        )
        entity = subscription.to_entity()
        view.apply(entity.key, entity.encode())
        subscriptions.append(subscription)
    return view, subscriptions


def _type(chance: random.Random) -> str:
    return ".".join(chance.choice(WORDS) for _ in range(chance.randrange(2, 5)))


def _pattern(chance: random.Random) -> str:
    """Most begin with a word and a star, as people's do."""
    segments = _type(chance).split(".")
    where = chance.choice((0, len(segments) - 1, len(segments) - 1, len(segments) - 1))
    segments[where] = "*"
    return ".".join(segments)


def _matched(view: ControlView, events: list[tuple[str, str]]) -> tuple[float, list[tuple[str, ...]]]:
    began = time.process_time()
    found = [view.subscribed(workspace, "live", "spine", kind) for workspace, kind in events]
    return (time.process_time() - began) / len(events) * 1e6, found


def _looped(subscriptions: list[Subscription], events: list[tuple[str, str]]) -> tuple[float, list[tuple[str, ...]]]:
    compiled = [(one.workspace, one.id, [_regex(pattern) for pattern in one.patterns]) for one in subscriptions]
    began = time.process_time()
    found = []
    for workspace, kind in events:
        mine = [
            identifier
            for owner, identifier, patterns in compiled
            if owner == workspace and any(pattern.fullmatch(kind) for pattern in patterns)
        ]
        found.append(tuple(sorted(mine)))
    return (time.process_time() - began) / len(events) * 1e6, found


def _regex(pattern: str) -> re.Pattern[str]:
    parts = (r"[^.]+(?:\.[^.]+)*" if part == "*" else re.escape(part) for part in pattern.split("."))
    return re.compile(r"\.".join(parts))
