"""The tracker against a naive model, and the stories that the model does not cover."""

from hypothesis import given
from hypothesis import strategies as st

from domain.delivery.offset_tracker import OffsetTracker


class Naive:
    """Remembers everything: what was opened, what was finished; confirms below the lowest that is open."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.finished: set[int] = set()
        self.confirmed: int | None = None

    def finish(self, offset: int) -> int | None:
        self.finished.add(offset)
        unfinished = [offset for offset in self.opened if offset not in self.finished]
        confirmable = min(unfinished) if unfinished else max(self.opened) + 1
        if confirmable == self.confirmed or confirmable == self.opened[0]:
            return None
        self.confirmed = confirmable
        return confirmable


@given(
    start=st.integers(0, 1_000),
    gaps=st.lists(st.integers(1, 4), min_size=1, max_size=60),
    order=st.randoms(use_true_random=False),
    together=st.integers(1, 20),
)
def test_it_confirms_what_the_naive_model_confirms(start: int, gaps: list[int], order, together: int) -> None:
    """Records with gaps between their offsets, opened and finished in any interleaving, up to `together` at once."""
    offsets = [start + sum(gaps[:index]) for index in range(len(gaps))]
    tracker, naive, running = OffsetTracker(), Naive(), []
    while offsets or running:
        if offsets and (not running or (len(running) < together and order.random() < 0.5)):
            running.append(offsets.pop(0))
            assert tracker.open(running[-1])
            naive.opened.append(running[-1])
        else:
            ended = running.pop(order.randrange(len(running)))
            assert tracker.finish(ended) == naive.finish(ended)
        assert tracker.unfinished == len(running)


def test_finishing_out_of_order_confirms_up_to_the_lowest_unfinished() -> None:
    tracker = OffsetTracker()
    for offset in (10, 11, 12, 13):
        tracker.open(offset)
    assert tracker.finish(12) is None
    assert tracker.finish(10) == 11
    assert tracker.finish(13) is None
    assert tracker.finish(11) == 14


def test_offsets_may_have_gaps() -> None:
    tracker = OffsetTracker()
    for offset in (3, 7, 20):
        tracker.open(offset)
    assert tracker.finish(3) == 7
    assert tracker.finish(20) is None
    assert tracker.finish(7) == 21


def test_a_record_that_is_read_again_is_known_whether_it_runs_or_is_done() -> None:
    tracker = OffsetTracker()
    assert tracker.open(5) and tracker.open(6) and tracker.open(7)
    tracker.finish(5)
    tracker.finish(7)
    assert [tracker.open(offset) for offset in (5, 6, 7, 8)] == [False, False, False, True]
    assert tracker.finish(6) == 8


def test_after_a_revocation_nothing_is_confirmed() -> None:
    tracker = OffsetTracker()
    tracker.open(1)
    tracker.open(2)
    assert tracker.finish(1) == 2
    tracker.revoke()
    assert tracker.revoked
    assert tracker.finish(2) is None
