"""Allocations: parts that follow demand and add up, when one is made, and what a ledger makes of its log."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.limits.account import FORGET_MS
from domain.limits.decide import EVEN_PPM, ROOM, Part, allocate, grown, is_pressed, shares_of
from domain.limits.ledger import HEARD_ALL_MS, QUIET_MS, SILENCE_MS, Allocated, Ledger
from domain.limits.quotas import WHOLE_PPM, Quota, burst_ppm
from schemas.records import SO_FAR, Shares, Usage

START_MS = 1_779_114_131_482
BUCKET = "ws_4F9KQ2C7Z1/live/events"
QUOTA = Quota(200, 1200)
DEMANDS = st.dictionaries(st.text("abcdef", min_size=1), st.integers(0, 10**6), min_size=1, max_size=40)


# Shares


@settings(deadline=None)
@given(demands=DEMANDS)
def test_shares_add_up_and_nobody_is_without(demands: dict[str, int]) -> None:
    shares = shares_of(demands)
    assert sum(shares.values()) == WHOLE_PPM
    assert all(share >= EVEN_PPM // len(demands) for share in shares.values())


@settings(deadline=None)
@given(demands=DEMANDS.filter(lambda demands: sum(demands.values()) > 0))
def test_shares_follow_demand_but_for_the_even_part(demands: dict[str, int]) -> None:
    total = sum(demands.values())
    for gateway, share in shares_of(demands).items():
        wanted = WHOLE_PPM * demands[gateway] / total
        assert abs(share - wanted) <= EVEN_PPM + 2 * len(demands)


@pytest.mark.parametrize(
    ("demands", "shares"),
    [
        ({"a": 7}, [1_000_000]),
        ({"a": 0, "b": 0}, [500_000, 500_000]),
        ({"a": 0, "b": 0, "c": 0}, [333_333, 333_333, 333_334]),
        ({"a": 90, "b": 10}, [896_000, 104_000]),
        ({"a": 10, "b": 90}, [104_000, 896_000]),
        ({"a": 1, "b": 0, "c": 0, "d": 0}, [992_500, 2_500, 2_500, 2_500]),
    ],
)
def test_shares_as_a_table(demands: dict[str, int], shares: list[int]) -> None:
    assert list(shares_of(demands).values()) == shares


@settings(deadline=None)
@given(demands=DEMANDS, room=st.integers(-200 * ROOM, 200 * ROOM))
def test_no_more_room_is_allocated_than_there_is(demands: dict[str, int], room: int) -> None:
    parts = {gateway: Part(demand, 5) for gateway, demand in demands.items()}
    shares = allocate(BUCKET, parts, room, START_MS)
    assert shares.gateways == sorted(demands) and sum(shares.share_ppm) == WHOLE_PPM
    assert sum(shares.room_milli) <= room * 1000 // ROOM
    assert sum(shares.room_milli) >= room * 1000 // ROOM - 2 * len(demands) - abs(room) * len(demands) // WHOLE_PPM
    assert shares.accepted == [5] * len(demands)


@pytest.mark.parametrize(
    ("room", "elapsed_ms", "after"),
    [(0, 50, 1), (0, 60_000, 200), (-3, 100, -1), (199, 100, 200), (5, -10, 5)],
)
def test_room_grows_as_the_bucket_drains_up_to_its_depth(room: int, elapsed_ms: int, after: int) -> None:
    assert grown(room * ROOM, QUOTA, elapsed_ms) == after * ROOM


@pytest.mark.parametrize(
    ("refused", "room_milli", "pressed"),
    [(1, 99_000, True), (0, 99_000, False), (0, 50_000, False), (0, 49_999, True), (0, -5_000, True)],
)
def test_a_gateway_is_pressed_below_half_of_its_depth(refused: int, room_milli: int, pressed: bool) -> None:
    assert is_pressed(refused, room_milli, QUOTA, WHOLE_PPM // 2, 2) is pressed


# A ledger


class Log:
    """One partition of `usage`: what is told moves time to `at_ms`; `allocated` holds the newest of each bucket."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.newest: dict[str, Shares | None] = {}
        self.accepted: dict[str, int] = {}

    def beats(self, gateways: Iterable[str], from_ms: int, until_ms: int) -> None:
        for at_ms in range(from_ms, until_ms + 1, 1000):
            for gateway in gateways:
                self.tell(Usage(gateway=gateway), at_ms)

    def use(self, gateway: str, at_ms: int, *, taken: int = 0, refused: int = 0, room: float = 0.0) -> list[Allocated]:
        self.accepted[gateway] = self.accepted.get(gateway, 0) + taken
        return self.tell(
            Usage(
                gateway=gateway,
                bucket=BUCKET,
                burst=QUOTA.burst,
                per_minute=QUOTA.per_minute,
                accepted=self.accepted[gateway],
                taken=taken,
                refused=refused,
                room_milli=round(room * 1000),
            ),
            at_ms,
        )

    def tell(self, usage: Usage, at_ms: int) -> list[Allocated]:
        self.ledger.note(usage, START_MS + at_ms)
        allocated = self.ledger.allocated()
        self.newest.update(allocated)
        return allocated

    def shares(self) -> dict[str, int]:
        shares = self.newest.get(BUCKET)
        return {} if shares is None else dict(zip(shares.gateways, shares.share_ppm, strict=True))

    def rooms(self) -> dict[str, float]:
        shares = self.newest[BUCKET]
        assert shares is not None
        return {name: room / 1000 for name, room in zip(shares.gateways, shares.room_milli, strict=True)}

    @property
    def gateways(self) -> list[str]:
        told = self.newest.get("")
        return [] if told is None else told.gateways


def a_log_of(*gateways: str) -> Log:
    """Whose gateways are known; time is 2 s."""
    log = Log()
    log.beats(gateways, 0, 2000)
    assert log.gateways == sorted(gateways)
    return log


def test_nothing_is_allocated_before_every_gateway_had_the_time_to_be_heard() -> None:
    log = Log()
    for at_ms in range(0, HEARD_ALL_MS, 200):
        log.use("a", at_ms, taken=1, refused=50)
    assert log.newest.keys() == {""}
    log.tell(Usage(gateway="b"), HEARD_ALL_MS)
    assert log.gateways == ["a", "b"]


def test_whoever_is_heard_of_before_that_is_told_as_one_of_perhaps_more() -> None:
    log = Log()
    tells = [log.tell(Usage(gateway=name), at_ms) for at_ms, name in enumerate(["a", "b", "a", "c"])]
    named = [
        [(bucket, shares and shares.gateways, shares and shares.dealt_ms) for bucket, shares in one] for one in tells
    ]
    assert named == [[("", ["a"], SO_FAR)], [("", ["a", "b"], SO_FAR)], [], [("", ["a", "b", "c"], SO_FAR)]]


def test_a_lone_gateway_is_allocated_nothing() -> None:
    log = a_log_of("a")
    assert log.use("a", 2100, taken=200, refused=800) == []
    assert log.use("a", 2300, taken=4, refused=100) == []


def test_a_gateway_that_is_short_gets_what_the_other_does_not_use() -> None:
    log = a_log_of("a", "b")
    assert log.use("a", 2100, taken=20, room=80) == []
    log.use("a", 2200, taken=80, refused=10)
    assert log.shares() == {"a": 995_000, "b": 5_000}
    assert log.rooms() == {"a": 74.75, "b": 25.25}  # 100 are left: b's even part


def test_shares_follow_when_the_load_flips() -> None:
    log = a_log_of("a", "b")
    for at_ms in range(2100, 5100, 200):
        log.use("a", at_ms, refused=90)
        log.use("b", at_ms + 100, refused=10)
    before = log.shares()
    for at_ms in range(5100, 8100, 200):
        log.use("a", at_ms, refused=10)
        log.use("b", at_ms + 100, refused=90)
    assert before["a"] > 850_000 and log.shares()["b"] > 850_000


def test_the_log_not_the_reports_number_says_what_was_accepted() -> None:
    """A report that was lost is made up for by the next one's total, one that comes twice counts once."""
    lossy, whole = a_log_of("a", "b"), a_log_of("a", "b")
    for log in (lossy, whole):
        log.use("a", 2100, taken=20, refused=1)
    whole.use("a", 2300, taken=30, refused=1)
    lossy.accepted["a"] += 30
    for log in (lossy, whole):
        log.use("a", 2500, taken=10, refused=1)
    assert lossy.rooms() == whole.rooms()
    log.tell(Usage(gateway="a", bucket=BUCKET, burst=200, per_minute=1200, accepted=60, taken=10, refused=1), 2500)
    whole.use("b", 2700, refused=1)
    lossy.use("b", 2700, refused=1)
    assert sum(lossy.rooms().values()) == pytest.approx(sum(whole.rooms().values()), abs=0.01)


def test_a_gateway_not_heard_of_loses_its_share() -> None:
    log = a_log_of("a", "b", "c")
    log.use("a", 2100, taken=90, refused=10)
    log.beats("ab", 3000, 2000 + SILENCE_MS)
    assert log.gateways == ["a", "b"]
    assert log.shares().keys() == {"a", "b"}


def test_a_gateway_that_leaves_loses_it_at_once_and_the_last_one_has_all() -> None:
    log = a_log_of("a", "b")
    log.use("a", 2100, taken=90, refused=10)
    allocated = log.tell(Usage(gateway="b", leaving=True), 2200)
    assert dict(allocated)[BUCKET] is None
    assert log.gateways == ["a"]


def test_a_gateway_that_comes_has_a_part_in_all_that_is_allocated() -> None:
    log = a_log_of("a", "b")
    log.use("a", 2100, taken=90, refused=10)
    log.tell(Usage(gateway="c"), 2200)
    assert log.shares().keys() == {"a", "b", "c"}


def test_a_bucket_that_nobody_uses_is_even_again_and_then_forgotten() -> None:
    log = a_log_of("a", "b")
    log.use("a", 2100, taken=90, refused=10)
    log.beats("ab", 3000, 2000 + QUIET_MS)
    assert log.newest[BUCKET] is not None
    log.beats("ab", 3000 + QUIET_MS, 4000 + QUIET_MS)
    assert log.newest[BUCKET] is None and log.ledger.buckets == 1
    log.beats("ab", 5000 + QUIET_MS, 3000 + FORGET_MS)
    assert log.ledger.buckets == 0


def test_what_processors_missed_is_not_charged_at_once() -> None:
    """A gateway that counted for hours when this ledger begins, or begins again after long, is asked for its room."""
    log = Log()
    log.accepted["a"] = 1_000_000
    log.beats("ab", 0, 2000)
    log.use("a", 2100, taken=5, refused=1, room=3)
    assert sum(log.rooms().values()) == pytest.approx(103, abs=0.1)
    log.accepted["a"] += 50_000
    log.beats("ab", 3000, 2100 + FORGET_MS)
    log.use("a", 3100 + FORGET_MS, taken=5, refused=1)
    assert sum(log.rooms().values()) > 150


@pytest.mark.parametrize("gateways", range(1, 12))
@pytest.mark.parametrize("share_ppm", [0, 1, 333_333, WHOLE_PPM])
def test_parts_of_the_burst_never_add_up_to_more_than_it(gateways: int, share_ppm: int) -> None:
    others = (WHOLE_PPM - share_ppm) // max(1, gateways - 1) if gateways > 1 else 0
    shares = [share_ppm if gateways > 1 else WHOLE_PPM, *[others] * (gateways - 1)]
    assert sum(burst_ppm(share, gateways) for share in shares) <= WHOLE_PPM
