"""Quotas over several gateways: the real buckets and the real allocator, with a log between them, in virtual time.

The goal: under a load above the quota, accepted within 3 % of it in any minute after the first, whatever the load's
shape, and in no span of time more than one burst above what a single bucket would have accepted.
"""

from collections.abc import Iterator

import pytest

from domain.limits.quotas import EVENTS, RATE_CLASSES, Quota
from ingest_gateway.limits.buckets import Bucket, Terms
from tests.support.fleet import Fleet

PER_MINUTE, BURST = EVENTS.quota.per_minute, EVENTS.quota.burst
TOLERANCE = 0.03
KNOWN_SECONDS = 10.0  # by then the gateways know each other
SPANS_SECONDS = (1, 10, 60)


def a_fleet(gateways: int, *, seed: int = 1, quota: Quota = EVENTS.quota) -> Fleet:
    fleet = Fleet(gateways, seed=seed, quota=quota)
    fleet.idle(KNOWN_SECONDS)
    return fleet


def skewed(fleet: Fleet, hot: int, per_second: float) -> dict[str, float]:
    """Nine tenths of the load at one gateway, the rest spread over the others."""
    names = list(fleet.gateways)
    others = len(names) - 1
    return {name: per_second * (0.9 if index == hot else 0.1 / others) for index, name in enumerate(names)}


def minutes(fleet: Fleet, from_seconds: float) -> Iterator[int]:
    """Accepted in each minute from then on, beginning at every quarter of a second."""
    begin = from_seconds
    while begin + 60 <= fleet.now_seconds:
        yield fleet.accepted_within(begin, 60)
        begin += 0.25


def assert_as_one_bucket(fleet: Fleet, loaded_from: float = KNOWN_SECONDS, above: int = BURST) -> None:
    wanted = fleet.quota.per_minute
    after_the_first = list(minutes(fleet, loaded_from + 60))
    assert after_the_first
    assert min(after_the_first) >= wanted * (1 - TOLERANCE)
    assert max(after_the_first) <= wanted * (1 + TOLERANCE)
    for seconds in SPANS_SECONDS:
        assert fleet.most_within(seconds) <= fleet.quota.burst + wanted * seconds / 60 + above


@pytest.mark.requirement("A-078", "A-079")
@pytest.mark.parametrize("per_second", [25, 40, 200])
@pytest.mark.parametrize("gateways", [2, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_90_to_10_then_flipped(gateways: int, per_second: float, seed: int) -> None:
    fleet = a_fleet(gateways, seed=seed)
    fleet.load(skewed(fleet, 0, per_second), 120)
    fleet.load(skewed(fleet, 1, per_second), 120)
    assert_as_one_bucket(fleet)
    assert fleet.most_within(60) <= BURST + PER_MINUTE


@pytest.mark.requirement("A-078", "A-079")
@pytest.mark.parametrize("per_second", [40, 200, 1000])
@pytest.mark.parametrize("gateways", [2, 4])
def test_gateways_that_start_together_are_one_bucket_from_the_start(gateways: int, per_second: float) -> None:
    """Nothing is known of anybody when the first requests come."""
    fleet = Fleet(gateways, seed=gateways)
    fleet.load(skewed(fleet, 0, per_second), 90)
    fleet.load(skewed(fleet, 1, per_second), 90)
    assert_as_one_bucket(fleet, loaded_from=0)
    for seconds in SPANS_SECONDS:
        assert fleet.most_within(seconds) <= BURST + PER_MINUTE * seconds / 60 + BURST / 2


@pytest.mark.requirement("A-078", "A-079")
def test_a_lone_gateway_accepts_what_one_bucket_does_to_the_request() -> None:
    fleet = a_fleet(1)
    fleet.load({"gateway-0": 60.0}, 120)
    reference = Bucket(Terms(EVENTS.quota), 0)
    assert fleet.accepted == [at_ns for at_ns in sorted(fleet.accepted + fleet.refused) if reference.take(at_ns)]
    assert fleet.refused and fleet.allocations == 2  # that there is one so far, and that there is but one


@pytest.mark.requirement("A-078")
@pytest.mark.parametrize("gateways", [2, 4, 10])
def test_a_load_below_the_quota_is_not_refused_wherever_it_comes_in(gateways: int) -> None:
    fleet = a_fleet(gateways, seed=3)
    for hot in range(6):
        fleet.load(skewed(fleet, hot % gateways, 13), 20)
    assert len(fleet.accepted) > 1400 and fleet.refused == []


@pytest.mark.parametrize("gateways", [2, 4])
def test_what_is_left_follows_a_burst_within_a_moment(gateways: int) -> None:
    fleet = a_fleet(gateways)
    name = next(iter(fleet.gateways))
    fleet.burst(name, 200)
    assert len(fleet.accepted) == BURST // gateways
    fleet.idle(0.5)
    fleet.burst(name, 200)
    assert BURST * 0.6 <= len(fleet.accepted) <= BURST + 10


@pytest.mark.parametrize("gateways", [2, 4])
def test_while_the_processors_are_away_the_last_allocation_holds(gateways: int) -> None:
    fleet = a_fleet(gateways)
    rates = skewed(fleet, 0, 40)
    fleet.load(rates, 60)
    fleet.decides = False
    fleet.load(rates, 120)
    assert_as_one_bucket(fleet)
    fleet.decides = True
    fleet.restart_processors()
    fleet.load(rates, 120)
    assert fleet.most_within(60) <= 2 * BURST + PER_MINUTE


def test_gateways_come_and_go() -> None:
    fleet = a_fleet(4)
    fleet.load(skewed(fleet, 0, 40), 70)
    fleet.kill("gateway-0")
    fleet.load(dict.fromkeys(fleet.gateways, 13.0), 70)
    fleet.stop("gateway-1")
    fleet.start("newcomer")
    fleet.load(skewed(fleet, 2, 40), 70)
    assert_as_one_bucket(fleet)


def test_restarts_one_after_the_other_do_not_make_new_bursts() -> None:
    """What a newcomer accepts before it has a share is charged, and the others have less."""
    fleet = a_fleet(2)
    for number in range(12):
        fleet.load(dict.fromkeys(fleet.gateways, 20.0), 10)
        fleet.stop(next(iter(fleet.gateways)))
        fleet.start(f"restart-{number}")
    assert_as_one_bucket(fleet)


@pytest.mark.parametrize("gateways", [2, 4])
@pytest.mark.parametrize("rate_class", ["work.read", "work.ai"])
def test_slow_classes_are_held_too(rate_class: str, gateways: int) -> None:
    """A minute's requests fit their bucket at once, so a minute holds two of them at most."""
    quota = RATE_CLASSES[rate_class].quota
    fleet = a_fleet(gateways, quota=quota)
    for hot in range(4):
        fleet.load(skewed(fleet, hot % gateways, quota.per_minute / 30), 90)
    assert fleet.most_within(60) <= quota.burst + quota.per_minute
    whole_run = quota.burst + quota.per_minute * 6
    assert 0.97 * whole_run <= len(fleet.accepted) <= whole_run


@pytest.mark.requirement("A-082")
def test_a_quota_that_is_raised_holds_at_all_gateways() -> None:
    fleet = a_fleet(2)
    fleet.load(skewed(fleet, 0, 200), 70)
    fleet.set_quota(Quota(1000, 6000))
    raised_at = fleet.now_seconds
    fleet.load(skewed(fleet, 1, 200), 130)
    assert 0.97 * 6000 <= fleet.accepted_within(raised_at + 60, 60) <= 1.03 * 6000
