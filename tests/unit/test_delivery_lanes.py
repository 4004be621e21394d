"""Lanes: bounds that hold under any sequence, turns that are fair, and nothing lost."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from domain.delivery.endpoint_queues import Lanes

RUNNING_MAX, LANE_RUNNING_MAX = 4, 2


def take_all(lanes: Lanes[int]) -> list[tuple[str, int]]:
    taken = []
    while (one := lanes.take()) is not None:
        taken.append((str(one[0]), one[1]))
    return taken


@given(st.lists(st.one_of(st.sampled_from("abc"), st.just("end")), max_size=80), st.randoms(use_true_random=False))
def test_bounds_hold_order_is_kept_and_nothing_is_lost(steps: list[str], order) -> None:
    lanes: Lanes[int] = Lanes(RUNNING_MAX, lambda _lane: LANE_RUNNING_MAX)
    added: list[tuple[str, int]] = []
    started: list[tuple[str, int]] = []
    running: list[str] = []

    def start() -> None:
        for key, item in take_all(lanes):
            started.append((key, item))
            running.append(key)
        assert lanes.running == len(running) <= RUNNING_MAX
        assert all(count <= LANE_RUNNING_MAX for count in Counter(running).values())
        assert lanes.waiting == len(added) - len(started)

    for number, step in enumerate(steps):
        if step != "end":
            lanes.add(step, number)
            added.append((step, number))
        elif running:
            lanes.done(running.pop(order.randrange(len(running))))
        start()
    while running:
        lanes.done(running.pop())
        start()
    assert sorted(started) == sorted(added)
    for key in "abc":
        assert [item for one, item in started if one == key] == [item for one, item in added if one == key]


@given(
    st.lists(st.one_of(st.sampled_from("abcd"), st.sampled_from(["end", "quick", "slow"])), max_size=120),
    st.randoms(use_true_random=False),
)
def test_lanes_that_are_not_quick_have_a_bound_together(steps: list[str], order) -> None:
    """Whatever is marked when; and nothing stays behind once there is room."""
    bounds = {"not_quick_running_max": 3, "unknown_running_max": 1}
    lanes: Lanes[int] = Lanes(5, lambda _lane: 2, **bounds)
    known: dict[str, bool] = {}
    running: list[str] = []
    added = started = 0

    def start() -> None:
        nonlocal started
        before = Counter(running)
        for key, _item in take_all(lanes):
            started += 1
            running.append(key)
            if key not in known:
                assert before[key] < 1
        assert lanes.running == len(running) <= 5
        new = Counter(running) - before
        not_quick = sum(not known.get(key, False) for key in running)
        assert not_quick <= 3 or not any(not known.get(key, False) for key in new)
        assert lanes.slow_lanes == sum(quick is False for quick in known.values())

    for step in steps:
        if step in ("quick", "slow"):
            key = order.choice("abcd")
            known[key] = step == "quick"
            lanes.mark(key, quick=known[key])
        elif step != "end":
            lanes.add(step, 0)
            added += 1
        elif running:
            lanes.done(running.pop(order.randrange(len(running))))
        start()
    while running:
        lanes.done(running.pop())
        start()
    assert started == added and lanes.waiting == 0


def test_very_many_slow_endpoints_leave_room_for_a_quick_one() -> None:
    lanes: Lanes[int] = Lanes(100, lambda _lane: 32, not_quick_running_max=75, unknown_running_max=4)
    for number in range(1_000):
        lanes.mark(number, quick=False)
        for item in range(10):
            lanes.add(number, item)
    slow = take_all(lanes)
    assert len(slow) == 75 and len({key for key, _ in slow}) == 75  # each in its turn
    lanes.add("new", 0)
    assert take_all(lanes) == []
    lanes.mark("quick", quick=True)
    for item in range(50):
        lanes.add("quick", item)
    assert Counter(key for key, _ in take_all(lanes)) == {"quick": 25}


def test_a_slow_endpoint_fills_its_own_lane_only() -> None:
    lanes: Lanes[int] = Lanes(RUNNING_MAX, lambda _lane: LANE_RUNNING_MAX)
    for number in range(100):
        lanes.add("slow", number)
    assert take_all(lanes) == [("slow", 0), ("slow", 1)]
    lanes.add("quick", 100)
    assert take_all(lanes) == [("quick", 100)]


def test_lanes_take_turns() -> None:
    lanes: Lanes[int] = Lanes(RUNNING_MAX, lambda _lane: LANE_RUNNING_MAX)
    for number in range(3):
        lanes.add("many", number)
    lanes.add("one", 10)
    assert take_all(lanes) == [("many", 0), ("one", 10), ("many", 1)]


def test_clear_forgets_what_waits_and_lets_what_runs_end() -> None:
    lanes: Lanes[int] = Lanes(RUNNING_MAX, lambda _lane: LANE_RUNNING_MAX)
    for number in range(5):
        lanes.add("a", number)
    lanes.take()
    lanes.clear()
    assert (lanes.running, lanes.waiting, lanes.take()) == (1, 0, None)
    lanes.done("a")
    lanes.add("a", 9)
    assert lanes.take() == ("a", 9)
