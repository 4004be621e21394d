"""The retry schedules: the documents' steps, the jitter that is drawn again alike, and schedules written as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.delivery.retry_schedule import (
    RETRY_SCHEDULES,
    EndpointClass,
    RetrySchedule,
    ScheduleInvalid,
    jitter_share,
    read_schedule,
    read_schedules,
)

HOUR_MS = 3_600_000


def due_times(schedule: RetrySchedule, delivery_id: str, attempt_ms: int = 0) -> list[int]:
    """When each attempt after the first is due, if every attempt takes `attempt_ms` and fails."""
    times: list[int] = []
    failed_ms = attempt_ms
    while (due_ms := schedule.due_ms(delivery_id, len(times) + 1, first_ms=0, failed_ms=failed_ms)) is not None:
        times.append(due_ms)
        failed_ms = due_ms + attempt_ms
    return times


@pytest.mark.requirement("A-065", "A-080", "X-14", "X-15")
@given(st.text(min_size=1, max_size=30))
def test_events_get_8_retries_over_22_to_27_hours(delivery_id: str) -> None:
    steps_seconds = (30, 60, 300, 900, 3_600, 10_800, 21_600, 43_200)
    times = due_times(RETRY_SCHEDULES[EndpointClass.EVENTS], delivery_id)
    assert len(times) == 8
    for pause_ms, step in zip((b - a for a, b in zip([0, *times], times, strict=False)), steps_seconds, strict=True):
        assert step * 1_000 <= pause_ms <= step * 1_200
    assert 22.35 * HOUR_MS <= times[-1] <= 26.85 * HOUR_MS


@pytest.mark.requirement("W-055")
@given(st.text(min_size=1, max_size=30))
def test_works_retries_begin_after_a_second_and_come_to_an_hour(delivery_id: str) -> None:
    steps_seconds = (1, 5, 25, 120, 600, *[3_600] * 18)
    times = due_times(RETRY_SCHEDULES[EndpointClass.WORK], delivery_id)
    for pause_ms, step in zip((b - a for a, b in zip([0, *times], times, strict=False)), steps_seconds, strict=False):
        assert step * 1_000 <= pause_ms <= step * 1_200


@pytest.mark.requirement("W-055", "X-29")
@given(st.text(min_size=1, max_size=30), st.integers(0, 5_000))
def test_works_last_step_repeats_until_24_hours_are_over(delivery_id: str, attempt_ms: int) -> None:
    times = due_times(RETRY_SCHEDULES[EndpointClass.WORK], delivery_id, attempt_ms)
    assert times[-1] <= 24 * HOUR_MS < times[-1] + attempt_ms + 1.2 * HOUR_MS
    assert 6 + 18 <= len(times) <= 6 + 23


@given(st.text(max_size=40), st.integers(1, 100))
def test_jitter_is_the_same_whoever_draws_it_and_at_most_a_fifth(delivery_id: str, attempt: int) -> None:
    assert jitter_share(delivery_id, attempt) == jitter_share(delivery_id, attempt)
    assert 0 <= jitter_share(delivery_id, attempt) < 0.2


def test_jitter_spreads_what_fails_together() -> None:
    shares = [jitter_share(f"dlv_{number}", 1) for number in range(1_000)]
    assert len(set(shares)) == 1_000
    assert min(shares) < 0.02 < 0.18 < max(shares)


@pytest.mark.requirement("W12")
@given(st.integers(0, 2**70), st.integers(1, 8))
def test_what_the_endpoint_asks_for_never_shortens_a_step_nor_passes_the_longest(asked_ms: int, attempt: int) -> None:
    schedule = RETRY_SCHEDULES[EndpointClass.EVENTS]
    usual = schedule.due_ms("dlv_1", attempt, first_ms=0, failed_ms=0)
    asked = schedule.due_ms("dlv_1", attempt, first_ms=0, failed_ms=0, asked_ms=asked_ms)
    assert usual is not None and asked is not None
    assert usual <= asked <= max(usual, schedule.longest_ms)


@pytest.mark.parametrize(
    ("text", "steps_ms", "total_ms"),
    [
        ("30s,1m,5m", (30_000, 60_000, 300_000), None),
        (" 500ms , 1.5s ", (500, 1_500), None),
        ("1s,5s..24h", (1_000, 5_000), 86_400_000),
    ],
)
def test_a_schedule_is_read_from_text(text: str, steps_ms: tuple[int, ...], total_ms: int | None) -> None:
    schedule = read_schedule(text)
    assert schedule == RetrySchedule(steps_ms, total_ms)
    assert read_schedule(str(schedule)) == schedule, "and is shown as it is written"


def test_a_class_that_is_not_named_keeps_its_own() -> None:
    assert read_schedules("") == RETRY_SCHEDULES
    assert read_schedules("events:1s;") == {**RETRY_SCHEDULES, EndpointClass.EVENTS: RetrySchedule((1_000,))}


@pytest.mark.parametrize(
    "text",
    [
        "30s",
        "events",
        "events:",
        "events:0s",
        "events:-1s",
        "events:1",
        "events:1d",
        "tasks:1s",
        "work:1s..",
        "work:..1h",
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleInvalid):
        read_schedules(text)
