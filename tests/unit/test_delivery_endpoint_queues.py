"""Endpoint queues: limits that hold under any sequence, a fair rotation, and nothing lost."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from domain.delivery.endpoint_queues import EndpointQueues

RUNNING_MAX, ENDPOINT_RUNNING_MAX = 4, 2


def take_all(queues: EndpointQueues[int]) -> list[tuple[str, int]]:
    taken = []
    while (one := queues.take()) is not None:
        taken.append((str(one[0]), one[1]))
    return taken


@given(st.lists(st.one_of(st.sampled_from("abc"), st.just("end")), max_size=80), st.randoms(use_true_random=False))
def test_bounds_hold_order_is_kept_and_nothing_is_lost(steps: list[str], order) -> None:
    queues: EndpointQueues[int] = EndpointQueues(RUNNING_MAX, lambda _endpoint: ENDPOINT_RUNNING_MAX)
    added: list[tuple[str, int]] = []
    started: list[tuple[str, int]] = []
    running: list[str] = []

    def start() -> None:
        for key, item in take_all(queues):
            started.append((key, item))
            running.append(key)
        assert queues.running == len(running) <= RUNNING_MAX
        assert all(count <= ENDPOINT_RUNNING_MAX for count in Counter(running).values())
        assert queues.waiting == len(added) - len(started)

    for number, step in enumerate(steps):
        if step != "end":
            queues.add(step, number)
            added.append((step, number))
        elif running:
            queues.done(running.pop(order.randrange(len(running))))
        start()
    while running:
        queues.done(running.pop())
        start()
    assert sorted(started) == sorted(added)
    for key in "abc":
        assert [item for one, item in started if one == key] == [item for one, item in added if one == key]


@given(
    st.lists(st.one_of(st.sampled_from("abcd"), st.sampled_from(["end", "quick", "slow"])), max_size=120),
    st.randoms(use_true_random=False),
)
def test_endpoints_that_are_not_quick_share_a_limit(steps: list[str], order) -> None:
    """Whatever is marked when; and nothing is left once there are free slots."""
    bounds = {"not_quick_running_max": 3, "unknown_running_max": 1}
    queues: EndpointQueues[int] = EndpointQueues(5, lambda _endpoint: 2, **bounds)
    known: dict[str, bool] = {}
    running: list[str] = []
    added = started = 0

    def start() -> None:
        nonlocal started
        before = Counter(running)
        for key, _item in take_all(queues):
            started += 1
            running.append(key)
            if key not in known:
                assert before[key] < 1
        assert queues.running == len(running) <= 5
        new = Counter(running) - before
        not_quick = sum(not known.get(key, False) for key in running)
        assert not_quick <= 3 or not any(not known.get(key, False) for key in new)
        assert queues.slow_endpoints == sum(quick is False for quick in known.values())

    for step in steps:
        if step in ("quick", "slow"):
            key = order.choice("abcd")
            known[key] = step == "quick"
            queues.mark(key, quick=known[key])
        elif step != "end":
            queues.add(step, 0)
            added += 1
        elif running:
            queues.done(running.pop(order.randrange(len(running))))
        start()
    while running:
        queues.done(running.pop())
        start()
    assert started == added and queues.waiting == 0


def test_very_many_slow_endpoints_leave_room_for_a_quick_one() -> None:
    queues: EndpointQueues[int] = EndpointQueues(
        100, lambda _endpoint: 32, not_quick_running_max=75, unknown_running_max=4
    )
    for number in range(1_000):
        queues.mark(number, quick=False)
        for item in range(10):
            queues.add(number, item)
    slow = take_all(queues)
    assert len(slow) == 75 and len({key for key, _ in slow}) == 75  # one of each
    queues.add("new", 0)
    assert take_all(queues) == []
    queues.mark("quick", quick=True)
    for item in range(50):
        queues.add("quick", item)
    assert Counter(key for key, _ in take_all(queues)) == {"quick": 25}


def test_a_slow_endpoint_fills_its_own_queue_only() -> None:
    queues: EndpointQueues[int] = EndpointQueues(RUNNING_MAX, lambda _endpoint: ENDPOINT_RUNNING_MAX)
    for number in range(100):
        queues.add("slow", number)
    assert take_all(queues) == [("slow", 0), ("slow", 1)]
    queues.add("quick", 100)
    assert take_all(queues) == [("quick", 100)]


def test_queues_are_served_in_rotation() -> None:
    queues: EndpointQueues[int] = EndpointQueues(RUNNING_MAX, lambda _endpoint: ENDPOINT_RUNNING_MAX)
    for number in range(3):
        queues.add("many", number)
    queues.add("one", 10)
    assert take_all(queues) == [("many", 0), ("one", 10), ("many", 1)]


def test_clear_forgets_what_waits_and_lets_what_runs_end() -> None:
    queues: EndpointQueues[int] = EndpointQueues(RUNNING_MAX, lambda _endpoint: ENDPOINT_RUNNING_MAX)
    for number in range(5):
        queues.add("a", number)
    queues.take()
    queues.clear()
    assert (queues.running, queues.waiting, queues.take()) == (1, 0, None)
    queues.done("a")
    queues.add("a", 9)
    assert queues.take() == ("a", 9)
