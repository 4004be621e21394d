"""A gateway's buckets: even parts, then allocations less what was accepted since; reports; forgetting."""

import pytest

from domain.limits.quotas import EVENTS, RATE_CLASSES, Quota, RateClass
from ingest_gateway.limits.buckets import NS_PER_SECOND
from ingest_gateway.limits.limiter import FORGET_NS, LOOKED_AT_MAX, REPORTS_MAX, Limiter
from schemas.records import Shares, Usage

WORKSPACE = "ws_4F9KQ2C7Z1"
BUCKET = f"{WORKSPACE}/live/events"
ME, OTHER = "me", "other"
SECOND = NS_PER_SECOND


def a_limiter(quota: Quota = EVENTS.quota) -> Limiter:
    return Limiter(ME, lambda *_place: quota)


def take(limiter: Limiter, requests: int, now_ns: int = 0, workspace: str = WORKSPACE) -> int:
    """How many of them fitted."""
    return sum(limiter.take(EVENTS, workspace, "live", now_ns)[0] for _ in range(requests))


def an_allocation(share_ppm: int, room: float, accepted: int = 0, bucket: str = BUCKET) -> Shares:
    return Shares(
        bucket=bucket,
        gateways=[ME, OTHER],
        dealt_ms=1,
        share_ppm=[share_ppm, 1_000_000 - share_ppm],
        room_milli=[round(room * 1000), 0],
        accepted=[accepted, 0],
    )


# What may be used


@pytest.mark.parametrize(("gateways", "fit"), [([], 200), ([ME], 200), ([ME, OTHER], 100), (["a", "b", "c"], 50)])
def test_an_even_part_until_something_is_allocated(gateways: list[str], fit: int) -> None:
    """One that is not in the list yet counts itself."""
    limiter = a_limiter()
    limiter.note_gateways(3, gateways)
    assert take(limiter, 300) == fit


def test_of_what_partitions_say_the_largest_number_counts() -> None:
    limiter = a_limiter()
    for partition, gateways in enumerate([[ME], [ME, OTHER], [ME]]):
        limiter.note_gateways(partition, gateways)
    assert limiter.gateways == 2
    limiter.note_gateways(1, [ME])
    assert limiter.gateways == 1


def test_those_heard_of_so_far_are_there_beside_those_before() -> None:
    """As an allocator reports that has just started: it may not have heard of all."""
    limiter = a_limiter()
    limiter.note_gateways(0, [ME, OTHER])
    limiter.note_gateways(0, ["third"], so_far=True)
    assert limiter.gateways == 3
    limiter.note_gateways(0, [ME])
    assert limiter.gateways == 1


@pytest.mark.requirement("A-078")
def test_buckets_are_of_a_workspace_environment_and_class() -> None:
    limiter = a_limiter(Quota(3, 60))
    per_tenant = RATE_CLASSES["work.read"]
    places: list[tuple[RateClass, str, str]] = [
        *((EVENTS, "ws_a", environment) for environment in ("live", "test")),
        (EVENTS, "ws_b", "live"),
        (RATE_CLASSES["work.write"], "ws_a", "live"),
    ]
    for place in places:
        assert sum(limiter.take(*place, 0)[0] for _ in range(5)) == 3
    assert sum(limiter.take(per_tenant, "ws_a", environment, 0)[0] for environment in ("live", "test") * 3) == 3


def test_an_allocation_gives_room_less_what_was_accepted_since_it_was_reckoned() -> None:
    limiter = a_limiter()
    assert take(limiter, 30) == 30
    limiter.apply(an_allocation(900_000, room=40, accepted=10), 0)  # 20 of the 30 were not known then
    assert take(limiter, 300) == 20


def test_an_allocation_of_a_bucket_that_was_not_used_here_waits_for_its_first_request() -> None:
    limiter = a_limiter()
    limiter.apply(an_allocation(500_000, room=5), 0)
    assert take(limiter, 300, SECOND) == 15  # and half of 20 a second since


def test_rooms_of_all_gateways_add_up_whatever_is_under_way() -> None:
    """Two gateways, 100 left as of what was told: 7 and 4 accepted meanwhile, so 89 are."""
    one, two = a_limiter(), Limiter(OTHER, lambda *_place: EVENTS.quota)
    for limiter, untold in ((one, 7), (two, 4)):
        take(limiter, 50 + untold)
        limiter.apply(
            Shares(
                bucket=BUCKET,
                gateways=[ME, OTHER],
                dealt_ms=1,
                share_ppm=[700_000, 300_000],
                room_milli=[60_000, 40_000],
                accepted=[50, 50],
            ),
            0,
        )
    assert take(one, 300) + take(two, 300) == 100 - 7 - 4


@pytest.mark.parametrize(
    "gone",
    [
        lambda limiter: limiter.forget(BUCKET),
        lambda limiter: limiter.apply(Shares(bucket=BUCKET, gateways=[OTHER, "x"], dealt_ms=2), 0),
    ],
)
def test_what_is_allocated_no_more_is_an_even_part_again(gone) -> None:  # type: ignore[no-untyped-def]
    limiter = a_limiter()
    limiter.note_gateways(0, [ME, OTHER])
    limiter.apply(an_allocation(1_000, room=0), 0)
    assert take(limiter, 10) == 0
    gone(limiter)
    assert take(limiter, 1) == 0
    assert take(limiter, 300, SECOND) == 10


@pytest.mark.requirement("A-082")
def test_a_quota_changed_at_run_time_holds_from_the_next_request() -> None:
    quota = Quota(5, 60)
    limiter = Limiter(ME, lambda *_place: quota)
    assert take(limiter, 10) == 5
    quota = Quota(50, 6000)
    limiter.quotas_changed()
    granted, entry = limiter.take(EVENTS, WORKSPACE, "live", 0)
    assert (granted, entry.limit_text) == (False, "50")  # the larger bucket fills from here
    assert take(limiter, 300, SECOND) == 50


# What is told


def test_reports_tell_totals_and_steps() -> None:
    limiter = a_limiter(Quota(10, 60))
    take(limiter, 12)
    (first,) = limiter.reports(0)
    assert first == Usage(
        gateway=ME, bucket=BUCKET, burst=10, per_minute=60, accepted=10, taken=10, refused=2, room_milli=0
    )
    assert limiter.reports(SECOND) == []
    take(limiter, 2, 2 * SECOND)
    (second,) = limiter.reports(2 * SECOND)
    assert (second.accepted, second.taken, second.refused, second.room_milli) == (12, 2, 0, 0)


def test_plenty_of_room_is_told_once_a_second() -> None:
    limiter = a_limiter()
    told = []
    for tenth in range(31):
        take(limiter, 1, tenth * SECOND // 10)
        told += [(tenth, usage.taken) for usage in limiter.reports(tenth * SECOND // 10)]
    assert told == [(10, 11), (20, 10), (30, 10)]
    take(limiter, 150, 4 * SECOND)
    assert [usage.taken for usage in limiter.reports(4 * SECOND)] == [150]


def test_of_many_buckets_the_short_ones_are_told_first_and_all_in_time() -> None:
    limiter = a_limiter(Quota(10, 60))
    for number in range(2 * REPORTS_MAX):
        take(limiter, 1, workspace=f"ws_{number}")
    take(limiter, 20)
    told = [limiter.reports(round_ * SECOND) for round_ in range(5)]
    assert [usage.bucket for usage in told[0]] == [BUCKET]
    assert all(len(round_) <= REPORTS_MAX for round_ in told)
    assert len({usage.bucket for round_ in told for usage in round_}) == 2 * REPORTS_MAX + 1


def test_memory_is_bounded_by_the_buckets_in_use() -> None:
    limiter = a_limiter()
    for number in range(3 * LOOKED_AT_MAX):
        take(limiter, 1, workspace=f"ws_{number}")
    assert len(limiter) == 3 * LOOKED_AT_MAX
    for _ in range(20):
        limiter.reports(SECOND)
    take(limiter, 1, FORGET_NS)
    limiter.reports(FORGET_NS)
    for _ in range(8):
        limiter.forget_idle(FORGET_NS + SECOND)
    assert len(limiter) == 1


def test_a_bucket_with_something_in_it_is_kept() -> None:
    limiter = a_limiter(Quota(100, 1))
    take(limiter, 100)
    limiter.reports(0)
    limiter.forget_idle(FORGET_NS)
    assert take(limiter, 100, FORGET_NS) == 1
