"""Where reading a partition begins, as a table."""

import pytest
from faust.types import TP

from processors.runtime.starting import Cause, Kept, LogRange, Start, StartRefused, starting_point

PARTITION = TP("deliveries", 3)
THIS, OTHER = "id-of-this-topic", "id-of-the-one-before"
LOG = LogRange(THIS, first=100, end=500)
FULL = LogRange(THIS, first=0, end=500)


@pytest.mark.requirement("F11", "F9", "F10")
@pytest.mark.parametrize(
    ("committed", "kept", "log", "start"),
    [
        # everyday starts
        (None, None, FULL, Start(0, Cause.NOTHING_KNOWN)),
        (None, None, LOG, Start(100, Cause.NOTHING_KNOWN)),
        (300, None, LOG, Start(300, Cause.COMMITTED)),  # before this version positions were not kept
        (300, Kept(THIS, 300), LOG, Start(300, Cause.COMMITTED)),
        (300, Kept(THIS, 250), LOG, Start(300, Cause.COMMITTED)),  # killed between the two, or moved on on purpose
        (500, Kept(THIS, 500), LOG, Start(500, Cause.COMMITTED)),
        # the group's offsets are forgotten
        (None, Kept(THIS, 300), LOG, Start(300, Cause.KEPT)),
        (None, Kept(THIS, 500), LOG, Start(500, Cause.KEPT)),
        # somebody set the group back
        (200, Kept(THIS, 300), LOG, Start(200, Cause.SET_BACK)),
        (0, Kept(THIS, 300), FULL, Start(0, Cause.SET_BACK)),
        # retention was quicker
        (40, None, LOG, Start(100, Cause.COMMITTED, missed=60)),
        (None, Kept(THIS, 99), LOG, Start(100, Cause.KEPT, missed=1)),
        (None, Kept(THIS, 100), LOG, Start(100, Cause.KEPT)),
        # another topic of that name
        (None, Kept(OTHER, 300), LOG, Start(100, Cause.RECREATED)),
        (300, Kept(OTHER, 300), FULL, Start(0, Cause.RECREATED)),
        (None, Kept(OTHER, 9_000), FULL, Start(0, Cause.RECREATED)),
    ],
)
def test_reading_begins(committed: int | None, kept: Kept | None, log: LogRange, start: Start) -> None:
    assert starting_point("delivery", PARTITION, committed, kept, log) == start


@pytest.mark.requirement("F9")
@pytest.mark.parametrize(
    ("committed", "kept"), [(501, None), (None, Kept(THIS, 501)), (501, Kept(THIS, 501)), (501, Kept(THIS, 300))]
)
def test_a_group_that_is_ahead_of_the_log_is_refused_with_the_way_out(committed: int | None, kept: Kept | None) -> None:
    with pytest.raises(StartRefused) as refused:
        starting_point("delivery", PARTITION, committed, kept, LOG)
    assert "delivery has handled deliveries[3] up to offset 501, but the log ends at 500" in str(refused.value)
    assert "--group delivery --topic deliveries:3 --reset-offsets --to-latest" in str(refused.value)
