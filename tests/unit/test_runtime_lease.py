"""How long a worker may act as owner, and for how long one may stand still."""

import time

import pytest

from processors.runtime.errors import Abandoned, LeaseLost
from processors.runtime.lease import MARGIN_SECONDS, Lease
from processors.runtime.watchdog import Progress


def test_without_an_answered_heartbeat_there_is_no_lease() -> None:
    with pytest.raises(LeaseLost):
        Lease(6.0).check()


def test_it_counts_from_when_the_heartbeat_left_and_ends_before_the_session_does() -> None:
    lease = Lease(6.0)
    lease.renew(sent_at=100.0)
    assert lease.seconds_left(now=100.0) == 6.0 - MARGIN_SECONDS
    assert lease.seconds_left(now=106.0) < 0


def test_an_answer_that_comes_late_never_shortens_it() -> None:
    lease = Lease(6.0)
    lease.renew(sent_at=100.0)
    lease.renew(sent_at=99.0)
    assert lease.seconds_left(now=100.0) == 6.0 - MARGIN_SECONDS


@pytest.mark.requirement("F16")
def test_past_it_nothing_may_leave() -> None:
    lease = Lease(6.0)
    lease.renew(sent_at=time.monotonic())
    lease.check()
    lapsed = Lease(6.0)
    lapsed.renew(sent_at=time.monotonic() - 30.0)
    with pytest.raises(LeaseLost, match="may have ended"):
        lapsed.check()


@pytest.mark.requirement("F16")
def test_one_that_was_given_up_is_not_renewed_by_an_answer_that_comes_after_all_but_begun_by_an_assignment() -> None:
    lease = Lease(6.0)
    lease.renew(time.monotonic())
    lease.give_up()
    lease.renew(time.monotonic())
    with pytest.raises(Abandoned):
        lease.check()
    lease.begin(time.monotonic() - 0.1)
    with pytest.raises(LeaseLost, match="may have ended"):
        lease.check()
    lease.renew(time.monotonic())
    lease.check()


@pytest.mark.requirement("F30")
@pytest.mark.parametrize(
    ("looks", "stalled_seconds"),
    [
        ([(0, 5, 5.0), (0, 5, 200.0)], 0),  # nothing to do is no standstill
        ([(9, 5, 5.0), (9, 6, 70.0), (9, 7, 140.0)], 0),  # slow is none either
        ([(9, 5, 5.0), (9, 5, 35.0), (9, 5, 66.0)], 61),
        ([(9, 5, 5.0), (12, 5, 66.0)], 61),  # that more comes in is no progress
        ([(9, 5, 5.0), (0, 5, 60.0), (4, 5, 66.0)], 6),  # work was due for these 6 s only
    ],
)
def test_work_that_waits_and_none_that_is_done_counts_as_standing_still(
    looks: list[tuple[int, float, float]], stalled_seconds: float
) -> None:
    progress = Progress(0.0)
    found = [progress.stalled_for(lag, handled, now) for lag, handled, now in looks]
    assert found[-1] == stalled_seconds
