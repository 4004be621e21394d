"""One bucket: exact against a leaky bucket in fractions, at any rate and share; what it promises about waiting."""

from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.limits.quotas import EVENTS, RATE_CLASSES, WHOLE_PPM, Quota, burst_ppm
from ingest_gateway.limits.buckets import MINUTE_NS, NS_PER_SECOND, Bucket, Terms

QUOTAS = st.builds(Quota, burst=st.integers(1, 500), per_minute=st.integers(1, 100_000))
GAPS_NS = st.lists(
    st.one_of(st.just(0), st.integers(0, NS_PER_SECOND), st.integers(0, 3 * MINUTE_NS)), min_size=1, max_size=200
)
START_NS = 987_654_321


class LeakyBucket:
    """The definition: a level that drains evenly, and a request that fits while the level stays within the depth."""

    def __init__(self, depth: Fraction, drains_per_ns: Fraction) -> None:
        self.depth, self.drains_per_ns = depth, drains_per_ns
        self.level, self.at_ns = Fraction(0), START_NS

    def take(self, now_ns: int) -> bool:
        self.level = max(Fraction(0), self.level - (now_ns - self.at_ns) * self.drains_per_ns)
        self.at_ns = now_ns
        fits = self.level + 1 <= self.depth
        self.level += fits
        return fits


def leaky(quota: Quota) -> LeakyBucket:
    return LeakyBucket(Fraction(quota.burst), Fraction(quota.per_minute, MINUTE_NS))


@pytest.mark.requirement("A-078", "A-079", "X-23")
@settings(deadline=None)
@given(quota=st.one_of(st.just(EVENTS.quota), QUOTAS), gaps_ns=GAPS_NS)
@example(quota=EVENTS.quota, gaps_ns=[0] * 201 + [49_999_999, 1, 0, 50_000_000])
def test_a_lone_gateways_bucket_is_the_leaky_bucket(quota: Quota, gaps_ns: list[int]) -> None:
    bucket, reference, now_ns = Bucket(Terms(quota), START_NS), leaky(quota), START_NS
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        assert bucket.take(now_ns) == reference.take(now_ns)
        assert bucket.standing()[0] == int(reference.depth - reference.level)


@settings(deadline=None)
@given(quota=QUOTAS, gaps_ns=GAPS_NS, share_ppm=st.integers(1, WHOLE_PPM - 1), gateways=st.integers(2, 30))
def test_a_share_is_a_smaller_leaky_bucket_just_as_exact(
    quota: Quota, gaps_ns: list[int], share_ppm: int, gateways: int
) -> None:
    depth = max(Fraction(1), quota.burst * Fraction(burst_ppm(share_ppm, gateways), WHOLE_PPM))
    reference = LeakyBucket(depth, Fraction(quota.per_minute * share_ppm, MINUTE_NS * WHOLE_PPM))
    bucket, now_ns = Bucket(Terms(quota, share_ppm, gateways), START_NS), START_NS
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        assert bucket.take(now_ns) == reference.take(now_ns)


@pytest.mark.requirement("A-079")
def test_200_at_once_then_20_a_second() -> None:
    bucket = Bucket(Terms(EVENTS.quota), 0)
    assert sum(bucket.take(0) for _ in range(1000)) == 200
    assert sum(bucket.take(ms * 1_000_000) for ms in range(1, 60_001)) == 1200
    assert (bucket.accepted, bucket.refused) == (1400, 800 + 58_800)


@pytest.mark.requirement("A-081")
@settings(deadline=None)
@given(quota=QUOTAS, gaps_ns=GAPS_NS)
def test_after_the_wait_it_names_a_request_fits_and_not_sooner(quota: Quota, gaps_ns: list[int]) -> None:
    bucket, now_ns = Bucket(Terms(quota), START_NS), START_NS
    for gap_ns in (*gaps_ns, *[0] * quota.burst):
        now_ns += gap_ns
        if not bucket.take(now_ns):
            wait_ns = bucket.retry_ns
            assert wait_ns > 0
            assert not bucket.take(now_ns + wait_ns - 1)
            assert bucket.take(now_ns + wait_ns)
            now_ns += wait_ns


@settings(deadline=None)
@given(quota=QUOTAS, gaps_ns=GAPS_NS)
def test_it_is_empty_when_it_says_and_not_sooner(quota: Quota, gaps_ns: list[int]) -> None:
    bucket, now_ns = Bucket(Terms(quota), START_NS), START_NS
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        bucket.take(now_ns)
    assert bucket.is_empty(now_ns + bucket.standing()[1])
    assert bucket.standing()[1] == 0 or not bucket.is_empty(now_ns + bucket.standing()[1] - 1)


# (terms before, requests, terms after, requests that fit then)
CHANGES = [
    ("nothing used: all that the new depth allows", Terms(Quota(100, 600)), 0, Terms(Quota(10, 600)), 10),
    ("a larger burst does not fill at once", Terms(Quota(10, 600)), 4, Terms(Quota(100, 600)), 6),
    ("half of the gateways' even part", Terms(Quota(100, 600)), 0, Terms(Quota(100, 600), 500_000, 2), 50),
    ("from a share back to the whole", Terms(Quota(100, 600), 500_000, 2), 0, Terms(Quota(100, 600)), 50),
]


@pytest.mark.requirement("A-082")
@pytest.mark.parametrize(("before", "taken", "after", "fit"), [row[1:] for row in CHANGES], ids=[r[0] for r in CHANGES])
def test_room_stays_when_terms_change(before: Terms, taken: int, after: Terms, fit: int) -> None:
    bucket = Bucket(before, 0)
    for _ in range(taken):
        bucket.take(0)
    bucket.change(after, 0)
    assert sum(bucket.take(0) for _ in range(200)) == fit


def test_room_that_is_given_may_be_owed() -> None:
    bucket = Bucket(Terms(Quota(100, 60), 500_000, 2), 0)
    bucket.change(bucket.terms, 0, room_milli=-1_500)
    assert (bucket.standing()[0], bucket.room_milli(0)) == (0, -1_500)
    assert not bucket.take(0)
    assert bucket.room_milli(5 * NS_PER_SECOND) == 1_000  # one a second, half of it ours: 2.5 in 5 s
    assert bucket.take(5 * NS_PER_SECOND)


def test_a_bucket_that_has_less_than_a_request_still_takes_one() -> None:
    """Else it would never say that it is wanted."""
    assert Bucket(Terms(RATE_CLASSES["work.ai"].quota, 1, 100), 0).take(0)


def test_a_small_share_names_the_wait_of_an_even_one() -> None:
    """As soon as it is asked, it gets more."""
    bucket = Bucket(Terms(EVENTS.quota, 1_000, 2), 0)
    while bucket.take(0):
        pass
    assert bucket.retry_ns <= 100_000_000  # 50 ms at the whole rate, 100 ms at half of it
