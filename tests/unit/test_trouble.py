"""When trouble that comes and goes counts as there, as a table: looks a second apart, and what holds after each."""

import pytest

from operations.trouble import Bounds, Trouble

BOUNDS = Bounds(begins_seconds=5.0, ends_seconds=2.5, quiet_seconds=3.0)
INF = float("inf")


@pytest.mark.parametrize(
    ("overdue_seconds", "there"),
    [
        pytest.param([0, 1, 2, 1, 0], "-----", id="none"),
        pytest.param([4, 5, 4.9, 5, 0], "-----", id="never beyond the bound"),
        pytest.param([4, 5.1, 6, 7], "-xxx", id="from beyond the bound on"),
        pytest.param([INF, INF], "xx", id="however much"),
        pytest.param([6, 4, 3, 2.5, 4], "xxxxx", id="between the bounds it stays"),
        pytest.param([6, 0, 0, 0, 0, 0], "xxxx--", id="over once it was quiet for long enough"),
        pytest.param([6, 0, 0, 4, 0, 0, 0, 0], "xxxxxxx-", id="what is seen again begins the quiet anew"),
        pytest.param([0, 6, 0, 6, 0, 6, 0], "-xxxxxx", id="what comes and goes does not flap"),
        pytest.param([6, 0, 0, 0, 0, 4, 6], "xxxx--x", id="and may come again"),
    ],
)
def test_two_bounds_apart(overdue_seconds: list[float], there: str) -> None:
    trouble, seen = Trouble(), ""
    for now_seconds, overdue in enumerate(overdue_seconds):
        trouble = trouble.after(overdue, float(now_seconds), BOUNDS)
        seen += "x" if trouble.is_there else "-"
    assert seen == there


def test_without_a_quiet_time_it_is_over_at_the_lower_bound() -> None:
    bounds = BOUNDS._replace(quiet_seconds=0.0)
    trouble = Trouble().after(6.0, 0.0, bounds)
    assert trouble.is_there
    assert trouble.after(2.5, 1.0, bounds).is_there
    assert not trouble.after(2.4, 1.0, bounds).is_there
