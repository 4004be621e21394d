"""Which offsets a member commits: those that were confirmed, and never an older one."""

import pytest
from faust.types import TP

from processors.runtime.confirmed_offsets import ConfirmedOffsets

SUBSCRIBED, SILENT, BUSY = [TP("t", number) for number in range(3)]


@pytest.mark.requirement("F19")
def test_what_is_committed_is_what_was_confirmed() -> None:
    offsets = ConfirmedOffsets()
    assert offsets.due() == {}
    offsets.confirm(BUSY, 2_585)
    assert offsets.due() == {BUSY: 2_585}
    offsets.confirm(BUSY, 2_590)
    offsets.confirm(BUSY, 2_587)
    assert offsets.due() == {BUSY: 2_590}, "it never goes back"
    assert offsets.note_committed({BUSY: 2_590}) == {BUSY}
    assert offsets.due() == {}


def test_offsets_outside_the_subscription_are_committed_again_before_a_broker_forgets_them() -> None:
    offsets = ConfirmedOffsets()
    offsets.begin(committed={SUBSCRIBED: 1, SILENT: 7, BUSY: 8}, to_commit={})
    offsets.confirm(BUSY, 9)
    assert offsets.due() == {BUSY: 9}
    assert offsets.due(again={SILENT, BUSY}) == {SILENT: 7, BUSY: 9}


def test_where_reading_begins_is_committed_where_nothing_is_yet() -> None:
    offsets = ConfirmedOffsets()
    offsets.begin(committed={SUBSCRIBED: 1}, to_commit={BUSY: 0})
    assert offsets.due() == {BUSY: 0}


@pytest.mark.parametrize("goes", ["forget", "clear"])
def test_a_commit_that_ends_after_its_partition_went_is_not_noted(goes: str) -> None:
    offsets = ConfirmedOffsets()
    offsets.confirm(BUSY, 9)
    offsets.confirm(SILENT, 3)
    if goes == "forget":
        offsets.forget([BUSY])
    else:
        offsets.clear()
    assert offsets.note_committed({BUSY: 9}) == set()
    offsets.confirm(BUSY, 4)
    assert offsets.due()[BUSY] == 4
