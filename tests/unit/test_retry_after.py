"""`Retry-After`: seconds and dates are read, nonsense is ignored, nothing is without bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.delivery.retry_schedule import ASKED_MS_MAX, asked_pause_ms

NOW_MS = 1_779_113_531_000  # Mon, 18 May 2026 14:12:11 GMT


@pytest.mark.requirement("W12")
@pytest.mark.parametrize(
    ("status", "written", "pause_ms"),
    [
        (429, "120", 120_000),
        (503, " 7 ", 7_000),
        (503, "Mon, 18 May 2026 14:13:11 GMT", 60_000),
        (503, "1" + "0" * 20, ASKED_MS_MAX),
        (503, "9" * 5_000, ASKED_MS_MAX),
        (503, "0", None),
        (503, "-1", None),
        (503, "1.5", None),
        (503, "Thu, 01 Jan 1970 00:00:00 GMT", None),
        (503, "Thu, 01 Jan 99999 00:00:00 GMT", None),
        (503, "tomorrow", None),
        (503, "", None),
        (503, "١٢", None),
        (503, None, None),
        (500, "120", None),
        (200, "120", None),
    ],
)
def test_what_an_endpoint_asks_for(status: int, written: str | None, pause_ms: int | None) -> None:
    assert asked_pause_ms(status, written, NOW_MS) == pause_ms


@pytest.mark.requirement("W12")
@given(st.text(max_size=200))
def test_any_text_is_ignored_or_within_bounds(written: str) -> None:
    pause_ms = asked_pause_ms(503, written, NOW_MS)
    assert pause_ms is None or 0 < pause_ms <= ASKED_MS_MAX
