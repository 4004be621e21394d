"""What the watchdog calls standing still, and the timer outside Python that ends a process whose loop is gone."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from prometheus_client import REGISTRY

from processors.runtime.held_back import HeldBack
from processors.runtime.lease import Lease
from processors.runtime.runtime import Call
from processors.runtime.watchdog import STALLED_SECONDS, StandingStill, Watchdog

ROOT = Path(__file__).parents[2]
A, B = TP("events.a", 0), TP("events.b", 1)
PATIENCE_SECONDS = 1.0
BLOCKED = f"""
import asyncio, time
from types import SimpleNamespace
from processors.runtime import watchdog
from processors.runtime.lease import Lease

watchdog.STALLED_SECONDS, watchdog.LOOK_EVERY_SECONDS = {PATIENCE_SECONDS}, 0.05
runtime = SimpleNamespace(consumer=SimpleNamespace(lease=Lease(6.0), fetcher=None))

async def main():
    watching = asyncio.create_task(watchdog.Watchdog(runtime).run())
    await asyncio.sleep(2 * {PATIENCE_SECONDS})
    print("the loop ran, and the process lives", flush=True)
    a_call_that_never_returns()

def a_call_that_never_returns():
    while True:
        time.sleep(0.1)

asyncio.run(main())
"""


@pytest.mark.requirement("F28")
def test_a_loop_that_does_not_come_back_ends_the_process_with_the_stack_of_what_blocks_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BLOCKED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1, ended.stderr
    assert "the process lives" in ended.stdout
    assert "Timeout" in ended.stderr and "in a_call_that_never_returns" in ended.stderr


@pytest.mark.requirement("F28")
def test_a_loop_counts_as_blocked_after_a_session_and_not_before_it_is_watched() -> None:
    lease = Lease(6.0)
    assert not lease.loop_is_blocked(now=1_000.0)
    lease.loop_ran(now=1_000.0)
    assert not lease.loop_is_blocked(now=1_006.0)
    assert lease.loop_is_blocked(now=1_006.1)
    lease.loop_ran(now=1_020.0)
    assert not lease.loop_is_blocked(now=1_020.5)


@pytest.mark.requirement("F30", "F31")
@pytest.mark.parametrize(
    ("story", "looks", "longest"),
    [
        ("nothing is due", [({}, 0.0), ({}, 90.0)], None),
        ("it moves", [({A: 5}, 0.0), ({A: 6}, 50.0), ({A: 7}, 90.0)], (A, 0.0)),
        ("it stands", [({A: 5}, 0.0), ({A: 5}, 50.0), ({A: 5}, 90.0)], (A, 90.0)),
        (
            "one stands while another moves",
            [({A: 5, B: 1}, 0.0), ({A: 6, B: 1}, 50.0), ({A: 7, B: 1}, 90.0)],
            (B, 90.0),
        ),
        ("both stand, one for longer", [({A: 5}, 0.0), ({A: 5, B: 1}, 50.0), ({A: 5, B: 1}, 90.0)], (A, 90.0)),
        ("nothing was due in between", [({A: 5}, 0.0), ({}, 50.0), ({A: 5}, 60.0), ({A: 5}, 90.0)], (A, 30.0)),
    ],
)
def test_the_partition_that_has_stood_still_the_longest(
    story: str, looks: list[tuple[dict[TP, int], float]], longest: tuple[TP, float] | None
) -> None:
    still = StandingStill()
    assert [still.longest(*look) for look in looks][-1] == longest, story


class Fetching:
    """A fetcher as the watchdog sees it."""

    def __init__(self, lag: int, stands: dict[TP, int]) -> None:
        self.failure: Exception | None = None
        self.unanswered_at = float("-inf")
        self._lag, self._stands = lag, stands
        self.held: dict[TP, HeldBack] = {}

    def assigned(self) -> set[TP]:
        return {A, B}

    def lag(self) -> dict[TP, int]:
        return {A: self._lag}

    def held_back(self) -> dict[TP, HeldBack]:
        return self.held

    def unreadable(self, tp: TP) -> str | None:
        return f"the batch at offset {self._stands[tp]} can't be read"

    def due_and_idle(self) -> dict[TP, int]:
        return self._stands


def a_runtime(fetcher: Fetching, call: Call | None = None) -> Any:
    lease = Lease(3_600.0)
    lease.renew(time.monotonic() + STALLED_SECONDS * 10)
    consumer = SimpleNamespace(
        fetcher=fetcher,
        lease=lease,
        unsettled_since=None,
        coordinator_away_at=float("-inf"),
        failure=lambda: None,
    )
    given_up: list[str] = []
    return SimpleNamespace(
        outbox=SimpleNamespace(stuck_seconds=lambda _now: 0.0),
        positions=SimpleNamespace(unanswered_at=float("-inf")),
        given_up=given_up,
        give_up=given_up.append,
        consumer=consumer,
        group="test",
        unwatched=set(),
        handled_records=0,
        tables=SimpleNamespace(recovered_entries=0),
        longest_call=lambda: call,
    )


@pytest.mark.requirement("K12", "F30")
def test_what_waits_for_an_open_transaction_ends_nobody_however_long_and_is_measured() -> None:
    fetcher = Fetching(7, {})
    runtime = a_runtime(fetcher)
    fetcher.held = {A: HeldBack(7, 42, time.monotonic() - 600)}
    assert told(runtime, 65.0) is None
    names = ("atlas_lag_records", "atlas_held_back_records", "atlas_held_back_seconds")
    lag, records, seconds = (REGISTRY.get_sample_value(name, {"group": "test"}) for name in names)
    assert (lag, records) == (7, 7) and seconds is not None and seconds >= 600
    fetcher.held = {A: HeldBack(6, 42, time.monotonic())}
    assert told(runtime, 65.0) == "1 records wait and none was handled for 65 s"


def told(runtime: Any, seconds_apart: float, looks: int = 2) -> str | None:
    """What the last of the looks found."""
    watchdog, now, error = Watchdog(runtime), time.monotonic(), None
    for number in range(looks):
        error = watchdog._look(now + number * seconds_apart)
        runtime.handled_records += runtime.moves if hasattr(runtime, "moves") else 0
    return None if error is None else str(error)


@pytest.mark.requirement("F30")
def test_a_handler_that_does_not_end_is_named_though_others_go_on() -> None:
    runtime = a_runtime(Fetching(5, {}), Call("admission", B, 42, 7, time.monotonic()))
    runtime.moves = 100
    assert told(runtime, 50.0) is None
    assert told(runtime, 65.0) == "admission handles 7 records of events.b[1] from offset 42 for 65 s"


@pytest.mark.requirement("F30", "F31")
def test_a_partition_that_nothing_comes_from_is_named_though_others_go_on() -> None:
    runtime = a_runtime(Fetching(5, {A: 12}))
    runtime.moves = 100
    assert told(runtime, 50.0) is None
    assert told(runtime, 65.0) == (
        "5 records of events.a[0] wait at the broker and none came for 65 s: the batch at offset 12 can't be read"
    )


@pytest.mark.requirement("F30", "F21")
def test_recovery_of_a_large_table_is_progress() -> None:
    runtime = a_runtime(Fetching(5, {}))
    assert (told(runtime, 65.0) or "").startswith("5 records wait and none was handled")
    watchdog, now = Watchdog(runtime), time.monotonic()
    for number in range(5):
        runtime.tables.recovered_entries += 1
        assert watchdog._look(now + number * 50.0) is None


@pytest.mark.requirement("F30")
def test_a_rebalance_that_does_not_end_is_named_though_nothing_seems_to_wait() -> None:
    runtime = a_runtime(Fetching(0, {}))
    assert told(runtime, 65.0) is None
    runtime.consumer.unsettled_since = time.monotonic()
    assert told(runtime, 50.0) is None
    assert told(runtime, 65.0) == "a rebalance of the group test has not ended for 65 s"


@pytest.mark.requirement("F2", "F30")
def test_a_rebalance_has_time_again_from_when_somebody_coordinates_it() -> None:
    runtime, began = a_runtime(Fetching(0, {})), time.monotonic()
    watchdog = Watchdog(runtime)
    runtime.consumer.unsettled_since = runtime.consumer.coordinator_away_at = began
    assert watchdog._look(began) is None
    runtime.consumer.coordinator_away_at = began + 80.0
    assert watchdog._look(began + 80.0) is None
    runtime.consumer.coordinator_away_at = began  # found, and last lost long ago
    assert watchdog._look(began + 85.0) is None and not runtime.given_up
    assert str(watchdog._look(began + 145.0)) == "a rebalance of the group test has not ended for 65 s"


def outbox_is_stuck(runtime: Any) -> None:
    runtime.outbox.stuck_seconds = lambda _now: 61.0


def fetches_are_not_answered(runtime: Any) -> None:
    runtime.consumer.fetcher.unanswered_at = time.monotonic() + 50.0


def coordinator_is_away(runtime: Any) -> None:
    runtime.consumer.coordinator_away_at = time.monotonic() + 50.0


def positions_are_not_answered(runtime: Any) -> None:
    runtime.positions.unanswered_at = time.monotonic() + 50.0


@pytest.mark.requirement("F2", "F30")
@pytest.mark.parametrize(
    "away", [outbox_is_stuck, fetches_are_not_answered, coordinator_is_away, positions_are_not_answered]
)
def test_who_stands_still_because_a_broker_is_away_starts_over_and_does_not_end(away: Callable[[Any], None]) -> None:
    runtime = a_runtime(Fetching(5, {A: 12}))
    away(runtime)
    assert told(runtime, 65.0) is None
    assert len(runtime.given_up) == 1
    assert runtime.given_up[0].startswith("5 records")
