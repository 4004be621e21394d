"""What the watchdog takes for a stalled worker, and the timer outside Python that ends a process whose loop is gone."""

import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from prometheus_client import REGISTRY

from processors.runtime.lease import Lease
from processors.runtime.open_transactions import OpenTransaction
from processors.runtime.vital_signs import Call, VitalSigns
from processors.runtime.watchdog import IdleFetches, Watchdog

ROOT = Path(__file__).parents[2]
A, B = TP("events.a", 0), TP("events.b", 1)
PATIENCE_SECONDS = 1.0
BLOCKED = f"""
import asyncio, time
from processors.runtime import watchdog

watchdog.STALLED_SECONDS, watchdog.LOOK_EVERY_SECONDS = {PATIENCE_SECONDS}, 0.05

class Starting:
    group = "test"
    def vital_signs(self, now):
        return None

async def main():
    watching = asyncio.create_task(watchdog.Watchdog(Starting()).run())
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
        ("it does not move", [({A: 5}, 0.0), ({A: 5}, 50.0), ({A: 5}, 90.0)], (A, 90.0)),
        (
            "one does not move while another does",
            [({A: 5, B: 1}, 0.0), ({A: 6, B: 1}, 50.0), ({A: 7, B: 1}, 90.0)],
            (B, 90.0),
        ),
        ("neither moves, one for longer", [({A: 5}, 0.0), ({A: 5, B: 1}, 50.0), ({A: 5, B: 1}, 90.0)], (A, 90.0)),
        ("nothing was due in between", [({A: 5}, 0.0), ({}, 50.0), ({A: 5}, 60.0), ({A: 5}, 90.0)], (A, 30.0)),
    ],
)
def test_the_partition_that_has_not_moved_the_longest(
    story: str, looks: list[tuple[dict[TP, int], float]], longest: tuple[TP, float] | None
) -> None:
    idle = IdleFetches()
    assert [idle.longest(*look) for look in looks][-1] == longest, story


@dataclass
class Worker:
    """As the watchdog sees one. `handles`: records between two looks."""

    signs: VitalSigns
    handles: int = 0
    group: str = "test"
    failures: list[BaseException] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)

    def vital_signs(self, now: float) -> VitalSigns | None:
        return self.signs

    def fail(self, error: BaseException) -> None:
        self.failures.append(error)

    def give_up(self, why: str) -> None:
        self.given_up.append(why)

    def note(self, **changes: Any) -> None:
        self.signs = replace(self.signs, **changes)


def found(worker: Worker, seconds_apart: float, looks: int = 2) -> str | None:
    """What the last of the looks found."""
    watchdog, now, error = Watchdog(worker), time.monotonic(), None
    for number in range(looks):
        error = watchdog.look(now + number * seconds_apart)
        worker.note(done=worker.signs.done + worker.handles)
    return None if error is None else str(error)


@pytest.mark.requirement("K12", "F30")
def test_what_waits_for_an_open_transaction_ends_no_worker_however_long_and_is_measured() -> None:
    worker = Worker(VitalSigns(lag={A: 7}, held_back={A: OpenTransaction(7, 42, time.monotonic() - 600)}))
    assert found(worker, 65.0) is None
    names = ("atlas_lag_records", "atlas_held_back_records", "atlas_held_back_seconds")
    lag, records, seconds = (REGISTRY.get_sample_value(name, {"group": "test"}) for name in names)
    assert (lag, records) == (7, 7) and seconds is not None and seconds >= 600
    worker.note(held_back={A: OpenTransaction(6, 42, time.monotonic())})
    assert found(worker, 65.0) == "1 records wait and none was handled for 65 s"


@pytest.mark.requirement("F30")
def test_records_of_topics_that_are_not_watched_do_not_count() -> None:
    assert found(Worker(VitalSigns(lag={A: 7}, unwatched=frozenset({A.topic}))), 65.0) is None


@pytest.mark.requirement("F30")
def test_a_handler_that_does_not_end_is_named_though_others_go_on() -> None:
    worker = Worker(VitalSigns(lag={A: 5}, call=Call("admission", B, 42, 7, time.monotonic())), handles=100)
    assert found(worker, 50.0) is None
    assert found(worker, 65.0) == "admission handles 7 records of events.b[1] from offset 42 for 65 s"


@pytest.mark.requirement("F30", "F31")
def test_a_partition_that_nothing_comes_from_is_named_though_others_go_on() -> None:
    damaged = {A: "the batch at offset 12 can't be read"}
    worker = Worker(VitalSigns(lag={A: 5}, idle={A: 12}, unreadable=damaged), handles=100)
    assert found(worker, 50.0) is None
    assert found(worker, 65.0) == (
        "5 records of events.a[0] wait at the broker and none came for 65 s: the batch at offset 12 can't be read"
    )


@pytest.mark.requirement("F30", "F21")
def test_recovery_of_a_large_table_is_progress() -> None:
    worker = Worker(VitalSigns(lag={A: 5}))
    assert (found(worker, 65.0) or "").startswith("5 records wait and none was handled")
    watchdog, now = Watchdog(worker), time.monotonic()
    for number in range(5):
        worker.note(done=worker.signs.done + 1)
        assert watchdog.look(now + number * 50.0) is None


@pytest.mark.requirement("F30")
def test_a_rebalance_that_does_not_end_is_named_though_nothing_seems_to_wait() -> None:
    worker = Worker(VitalSigns())
    assert found(worker, 65.0) is None
    worker.note(rebalancing_since=time.monotonic())
    assert found(worker, 50.0) is None
    assert found(worker, 65.0) == "a rebalance of the group test has not ended for 65 s"


@pytest.mark.requirement("F2", "F30")
def test_a_rebalance_has_time_again_from_when_the_group_has_a_coordinator() -> None:
    began = time.monotonic()
    worker = Worker(VitalSigns(rebalancing_since=began, coordinator_away_at=began))
    watchdog = Watchdog(worker)
    assert watchdog.look(began) is None
    worker.note(coordinator_away_at=began + 80.0)
    assert watchdog.look(began + 80.0) is None
    assert watchdog.look(began + 85.0) is None and not worker.given_up
    assert str(watchdog.look(began + 145.0)) == "a rebalance of the group test has not ended for 65 s"


@pytest.mark.parametrize("signs", [VitalSigns(failure=OSError("gone"), lag={A: 5}), None], ids=["failed", "starting"])
def test_what_ended_the_fetcher_ends_the_process_at_once(signs: VitalSigns | None) -> None:
    worker = Worker(VitalSigns())
    worker.signs = signs  # type: ignore[assignment]
    assert Watchdog(worker).look(time.monotonic()) is (None if signs is None else signs.failure)


@pytest.mark.requirement("F2", "F30")
@pytest.mark.parametrize(
    ("away", "why"),
    [
        ("outbox_stuck_seconds", "brokers have taken none of this worker's records for 61 s"),
        ("fetch_unanswered_at", "a broker that it reads from gives no answer"),
        ("positions_unanswered_at", "a broker gives no answer about where reading begins"),
        ("coordinator_away_at", "its group's coordinator is away"),
    ],
)
def test_a_worker_that_stalls_because_a_broker_is_away_starts_over_and_does_not_end(away: str, why: str) -> None:
    worker = Worker(VitalSigns(lag={A: 5}, idle={A: 12}))
    worker.note(**{away: 61.0 if away == "outbox_stuck_seconds" else time.monotonic() + 50.0})
    assert found(worker, 65.0) is None
    [reason] = worker.given_up
    assert reason.startswith("5 records") and reason.endswith(why)


async def test_a_watchdog_ends_when_it_has_found_something() -> None:
    worker = Worker(VitalSigns(failure=OSError("gone")))
    await Watchdog(worker).run()
    assert [str(error) for error in worker.failures] == ["gone"]
