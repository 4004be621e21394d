"""What is due next: the earliest time noted for a key counts, each is taken once."""

from hypothesis import given
from hypothesis import strategies as st

from domain.delivery.due_times import DueTimes


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 50)), max_size=40), st.integers(0, 60))
def test_it_agrees_with_a_dictionary_of_the_earliest_times(notes: list[tuple[str, int]], now_ms: int) -> None:
    due_times: DueTimes[str] = DueTimes()
    earliest: dict[str, int] = {}
    for key, at_ms in notes:
        is_first = due_times.note(key, at_ms)
        improved = at_ms < earliest.get(key, 1_000)
        earliest[key] = min(at_ms, earliest.get(key, 1_000))
        assert is_first == (improved and at_ms == min(earliest.values()))
    due = [key for key, at_ms in earliest.items() if at_ms <= now_ms]
    taken = due_times.take(now_ms)
    assert sorted(taken) == sorted(due)
    assert [earliest[key] for key in taken] == sorted(earliest[key] for key in due)
    left = {key: at_ms for key, at_ms in earliest.items() if at_ms > now_ms}
    assert due_times.next_ms() == min(left.values(), default=None)
    assert len(due_times) == len(left)


def test_what_is_gone_is_forgotten() -> None:
    due_times: DueTimes[str] = DueTimes()
    for key, at_ms in (("a", 1), ("b", 2), ("c", 3)):
        due_times.note(key, at_ms)
    due_times.drop(lambda key: key == "a")
    assert (due_times.next_ms(), due_times.take(10)) == (2, ["b", "c"])
