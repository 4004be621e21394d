"""The circuit breaker of an endpoint: opens, is probed by one, comes back one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.delivery.circuit_breaker import Breaker, BreakerLimits, Circuit

LIMITS = BreakerLimits(budget=8, failures_max=4, pause_first_ms=100, pause_max_ms=1_000)


def an_open_one(now_ms: int = 0) -> Breaker:
    breaker = Breaker(LIMITS)
    for _ in range(LIMITS.failures_max):
        breaker.end(breaker.start(), answered=False, now_ms=now_ms)
    assert breaker.circuit is Circuit.OPEN
    return breaker


def fail_probe(breaker: Breaker, now_ms: int) -> None:
    assert breaker.running_max(now_ms) == 1
    assert breaker.end(breaker.start(), answered=False, now_ms=now_ms)


def test_failures_in_a_row_open_it_and_one_answer_in_between_does_not() -> None:
    breaker = Breaker(LIMITS)
    for _ in range(10):
        for _ in range(LIMITS.failures_max - 1):
            assert not breaker.end(breaker.start(), answered=False, now_ms=0)
        breaker.end(breaker.start(), answered=True, now_ms=0)
    assert (breaker.circuit, breaker.running_max(0)) == (Circuit.CLOSED, LIMITS.budget)


@pytest.mark.requirement("F48")
def test_an_open_one_lets_nothing_through_until_its_pause_is_over_and_then_one() -> None:
    breaker = an_open_one()
    assert [breaker.running_max(at_ms) for at_ms in (0, 99, 100, 10_000)] == [0, 0, 1, 1]
    breaker.start()
    assert (breaker.circuit, breaker.running_max(100)) == (Circuit.HALF_OPEN, 1)


def test_its_pause_doubles_with_each_probe_that_fails_up_to_a_bound() -> None:
    breaker = an_open_one()
    pauses, now_ms = [], 0
    for _ in range(6):
        pauses.append(breaker.probes_at_ms - now_ms)
        now_ms = breaker.probes_at_ms
        fail_probe(breaker, now_ms)
    assert pauses == [100, 200, 400, 800, 1_000, 1_000]


@pytest.mark.requirement("F48")
def test_after_a_good_probe_it_takes_one_more_for_each_that_succeeds() -> None:
    breaker = an_open_one()
    running_maxs = []
    for _ in range(10):
        breaker.end(breaker.start(), answered=True, now_ms=100)
        running_maxs.append(breaker.running_max(100))
    assert running_maxs == [2, 3, 4, 5, 6, 7, 8, 8, 8, 8]
    assert breaker.is_fresh


def test_while_it_comes_back_one_failure_opens_it_again_for_longer() -> None:
    breaker = an_open_one()
    breaker.end(breaker.start(), answered=True, now_ms=100)
    assert breaker.end(breaker.start(), answered=False, now_ms=200)
    assert (breaker.circuit, breaker.probes_at_ms) == (Circuit.OPEN, 400)


def test_attempts_begun_before_it_opened_say_nothing_about_the_probe() -> None:
    breaker = Breaker(LIMITS)
    early = [breaker.start() for _ in range(8)]
    for begun in early[:4]:
        breaker.end(begun, answered=False, now_ms=0)
    probe = breaker.start()
    for begun in early[4:]:
        assert not breaker.end(begun, answered=False, now_ms=150)
    assert breaker.circuit is Circuit.HALF_OPEN
    breaker.end(early[4], answered=True, now_ms=150)
    assert breaker.circuit is Circuit.HALF_OPEN
    breaker.end(probe, answered=True, now_ms=150)
    assert breaker.circuit is Circuit.CLOSED


@pytest.mark.requirement("F48")
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500)), max_size=200))
def test_whatever_happens_a_circuit_that_is_not_closed_runs_one_at_most(steps: list[tuple[bool, int]]) -> None:
    breaker, now_ms, running = Breaker(LIMITS), 0, []
    for answered, later_ms in steps:
        now_ms += later_ms
        while len(running) < breaker.running_max(now_ms):
            running.append(breaker.start())
        if running:
            breaker.end(running.pop(0), answered=answered, now_ms=now_ms)
        running_max = breaker.running_max(now_ms)
        assert 0 <= running_max <= LIMITS.budget
        assert breaker.circuit is Circuit.CLOSED or running_max <= 1
    at_last_ms = now_ms + LIMITS.pause_max_ms
    assert breaker.running_max(at_last_ms) >= 1  # never shut for good
