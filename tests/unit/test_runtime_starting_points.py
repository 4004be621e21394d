"""Where reading a partition begins, as a table."""

import pytest
from faust.types import TP

from processors.runtime.errors import StartRefused
from processors.runtime.starting_points import KeptOffset, LogRange, StartCause, StartingPoint, starting_point

PARTITION = TP("deliveries", 3)
THIS, OTHER = "id-of-this-topic", "id-of-the-one-before"
LOG = LogRange(THIS, first=100, end=500)
FULL = LogRange(THIS, first=0, end=500)


@pytest.mark.requirement("F11", "F9", "F10")
@pytest.mark.parametrize(
    ("committed", "kept", "log", "start"),
    [
        # everyday starts
        (None, None, FULL, StartingPoint(0, StartCause.NOTHING_KNOWN)),
        (None, None, LOG, StartingPoint(100, StartCause.NOTHING_KNOWN)),
        (300, None, LOG, StartingPoint(300, StartCause.COMMITTED)),  # before this version positions were not kept
        (300, KeptOffset(THIS, 300), LOG, StartingPoint(300, StartCause.COMMITTED)),
        (
            300,
            KeptOffset(THIS, 250),
            LOG,
            StartingPoint(300, StartCause.COMMITTED),
        ),  # killed in between, or moved on purpose
        (500, KeptOffset(THIS, 500), LOG, StartingPoint(500, StartCause.COMMITTED)),
        # the group's offsets are forgotten
        (None, KeptOffset(THIS, 300), LOG, StartingPoint(300, StartCause.KEPT)),
        (None, KeptOffset(THIS, 500), LOG, StartingPoint(500, StartCause.KEPT)),
        # somebody set the group back
        (200, KeptOffset(THIS, 300), LOG, StartingPoint(200, StartCause.SET_BACK)),
        (0, KeptOffset(THIS, 300), FULL, StartingPoint(0, StartCause.SET_BACK)),
        # retention was quicker
        (40, None, LOG, StartingPoint(100, StartCause.COMMITTED, missed=60)),
        (None, KeptOffset(THIS, 99), LOG, StartingPoint(100, StartCause.KEPT, missed=1)),
        (None, KeptOffset(THIS, 100), LOG, StartingPoint(100, StartCause.KEPT)),
        # another topic of that name
        (None, KeptOffset(OTHER, 300), LOG, StartingPoint(100, StartCause.RECREATED)),
        (300, KeptOffset(OTHER, 300), FULL, StartingPoint(0, StartCause.RECREATED)),
        (None, KeptOffset(OTHER, 9_000), FULL, StartingPoint(0, StartCause.RECREATED)),
    ],
)
def test_reading_begins(committed: int | None, kept: KeptOffset | None, log: LogRange, start: StartingPoint) -> None:
    assert starting_point("delivery", PARTITION, committed, kept, log) == start


@pytest.mark.requirement("F9")
@pytest.mark.parametrize(
    ("committed", "kept"),
    [(501, None), (None, KeptOffset(THIS, 501)), (501, KeptOffset(THIS, 501)), (501, KeptOffset(THIS, 300))],
)
def test_a_group_that_is_ahead_of_the_log_is_refused_with_the_way_out(
    committed: int | None, kept: KeptOffset | None
) -> None:
    with pytest.raises(StartRefused) as refused:
        starting_point("delivery", PARTITION, committed, kept, LOG)
    assert "delivery has handled deliveries[3] up to offset 501, but the log ends at 500" in str(refused.value)
    assert "--group delivery --topic deliveries:3 --reset-offsets --to-latest" in str(refused.value)
