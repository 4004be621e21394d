"""What the admission bench makes of what it measured: speeds between two looks, gaps, ratios held against goals."""

from typing import Any

import msgspec
import pytest

from bench.admission.meter import Look, Speed, between
from bench.admission.recovery import entries
from bench.admission.steady import longest_gap
from bench.admission.throughput import ratios
from domain.idempotency.events import KeyEntry
from processors.runtime.table import packed, unpacked


def test_the_last_look_before_the_end_counts() -> None:
    """The one at the end may come long after it."""
    looks = [Look(10.0, 1.0, 100), Look(11.0, 1.5, 20_100), Look(12.0, 2.0, 40_100), Look(14.0, 2.1, 50_000)]
    speed = between(looks)
    assert speed == Speed(events=40_000, seconds=2.0, cpu_seconds=1.0)
    assert (speed.a_second, speed.a_core) == (20_000, 40_000)
    assert between(looks[:2]).events == 20_000, "with two looks there is no other"


@pytest.mark.parametrize(("times", "gap"), [([], 0.0), ([1.0], 0.0), ([1.0, 1.1, 3.0, 3.2], 1.9)])
def test_the_longest_gap(times: list[float], gap: float) -> None:
    assert longest_gap(times) == pytest.approx(gap)


@pytest.mark.parametrize(
    ("ours", "faust", "quix", "met"),
    [
        ((60_000, 50_000), 3_000, 20_000, True),
        ((60_000, 49_999), 3_000, 20_000, False),
        ((60_000, 50_000), 3_500, 20_000, False),
        ((60_000, 50_000), 3_000, 26_000, False),
        ((60_000, 50_000), 3_000, None, False),
    ],
    ids=["met", "too slow by one", "less than 15 × Faust", "less than 2 × quixstreams", "a peer gave no figure"],
)
def test_goals_are_held_against_the_slower_of_ours(
    ours: tuple[int, int], faust: int, quix: int | None, met: bool
) -> None:
    measured = {"unkeyed": ours[0], "keyed": ours[1], "faust": faust, "quixstreams": quix}
    found: dict[str, Any] = {name: {"events_a_core_second": figure} for name, figure in measured.items() if figure}
    said = ratios(found)
    assert said["met"] is met
    assert said["times"]["faust"] == round(ours[1] / faust, 2)


def test_the_entries_of_a_filled_changelog_are_real_ones() -> None:
    """Recovery of anything else would measure something else."""
    batches = list(entries(10_007))
    assert [len(batch) for batch in batches] == [10_000, 7]
    [record] = packed(batches[1])
    read = dict(unpacked(record[1]))
    assert read == batches[1]
    for key, value in read.items():
        entry = msgspec.msgpack.decode(value or b"", type=KeyEntry)
        assert len(key) == 16
        assert entry.event_id.startswith("evt_") and len(entry.event_id) == len("evt_") + 26
