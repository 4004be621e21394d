"""When a failed delivery is attempted again: the retry schedules, their jitter, and `Retry-After`.

Events: 8 retries after 30s 1m 5m 15m 1h 3h 6h 12h. Work: 1s 5s 25s 2m 10m 1h, with the last step repeated until 24
hours have passed since the first attempt (W-055, X-29). The spine uses the schedule of events (X-08). A jitter of 0 to
20 % is added to each step. It is derived from the delivery and the attempt, so that computing it again gives the same
time. `Retry-After` of a 429 or 503 makes a step longer, never shorter, and at most as long as the schedule's longest
step: `RetrySchedule.due_ms` decides.

As text (`ATLAS_RETRY_LADDER`): `events:30s,1m,5m;work:1s,5s,25s..24h`, where `..24h` repeats the last step until that
much time has passed. A class that the text does not name keeps its usual schedule.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from types import MappingProxyType

JITTER_SHARE_MAX = 0.2
STEPS_MAX = 100
RETRY_AFTER_STATUSES = frozenset({429, 503})
ASKED_MS_MAX = 7 * 86_400_000  # far above the longest step of any schedule, which is the real limit
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)")
_SECONDS = re.compile(r"[0-9]+")
_RETRY_AFTER_CHARACTERS_MAX = 64


class ScheduleInvalid(ValueError):
    """The text is not a schedule; the message says why."""


class EndpointClass(StrEnum):
    """What kind of endpoint a delivery goes to; each has a schedule of its own."""

    EVENTS = "events"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """`total_ms`: the last step repeats, and no attempt is due later than this after the first attempt began."""

    steps_ms: tuple[int, ...]
    total_ms: int | None = None

    def __str__(self) -> str:
        """The schedule as text."""
        steps = ",".join(map(_written, self.steps_ms))
        return steps if self.total_ms is None else f"{steps}..{_written(self.total_ms)}"

    @property
    def longest_ms(self) -> int:
        """The longest pause that a `Retry-After` can ask for."""
        return max(self.steps_ms)

    def step_ms(self, attempt: int) -> int | None:
        """The pause after attempt `attempt` (from 1) failed, without jitter; None where it was the last."""
        if attempt <= len(self.steps_ms):
            return self.steps_ms[attempt - 1]
        return None if self.total_ms is None else self.steps_ms[-1]

    def due_ms(
        self, delivery_id: str, attempt: int, *, first_ms: int, failed_ms: int, asked_ms: int | None = None
    ) -> int | None:
        """When the attempt after `attempt` is due; None if there is none.

        `first_ms`: when the first attempt began. `failed_ms`: when this one ended. `asked_ms`: the pause that the
        endpoint asked for by `Retry-After` (`asked_pause_ms`).
        """
        step_ms = self.step_ms(attempt)
        if step_ms is None:
            return None
        pause_ms = step_ms + int(step_ms * jitter_share(delivery_id, attempt))
        if asked_ms is not None:
            pause_ms = max(pause_ms, min(asked_ms, self.longest_ms))
        due_ms = failed_ms + pause_ms
        return None if self.total_ms is not None and due_ms - first_ms > self.total_ms else due_ms


RETRY_SCHEDULES: Mapping[EndpointClass, RetrySchedule] = MappingProxyType(
    {
        EndpointClass.EVENTS: RetrySchedule(
            (30_000, 60_000, 300_000, 900_000, 3_600_000, 10_800_000, 21_600_000, 43_200_000)
        ),
        EndpointClass.WORK: RetrySchedule((1_000, 5_000, 25_000, 120_000, 600_000, 3_600_000), total_ms=86_400_000),
    }
)


def jitter_share(delivery_id: str, attempt: int) -> float:
    """0 to 0.2, the same for the same delivery and attempt."""
    drawn = hashlib.blake2b(f"{delivery_id}/{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") / 2**64 * JITTER_SHARE_MAX


def asked_pause_ms(http_status: int, retry_after: str | None, now_ms: int) -> int | None:
    """The pause that the header's text asks for, as seconds or as a date. None: the status is not one for which Atlas
    honours the header, the date is past, or the text is neither.
    """
    if http_status not in RETRY_AFTER_STATUSES or retry_after is None:
        return None
    text = retry_after.strip()
    if len(text) > _RETRY_AFTER_CHARACTERS_MAX:
        return ASKED_MS_MAX if _SECONDS.fullmatch(text) and text.isascii() else None
    pause_ms = int(text) * 1_000 if _SECONDS.fullmatch(text) else _until_date_ms(text, now_ms)
    return min(pause_ms, ASKED_MS_MAX) if pause_ms > 0 else None


def read_schedules(text: str) -> Mapping[EndpointClass, RetrySchedule]:
    """The schedule of every class: from the text, or its usual one. Raises ScheduleInvalid."""
    schedules = dict(RETRY_SCHEDULES)
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, colon, steps = part.partition(":")
        if not colon or name.strip() not in list(EndpointClass):
            raise ScheduleInvalid(
                f"{part[:40]!r} does not begin with {' or '.join(f'{known}:' for known in EndpointClass)}"
            )
        schedules[EndpointClass(name.strip())] = read_schedule(steps)
    return MappingProxyType(schedules)


def read_schedule(text: str) -> RetrySchedule:
    """`30s,1m,5m` or, with the last step repeated, `1s,5s..24h`. Raises ScheduleInvalid."""
    written, repeats, total = text.partition("..")
    steps_ms = tuple(_duration_ms(step) for step in written.split(","))
    if len(steps_ms) > STEPS_MAX:
        raise ScheduleInvalid(f"a schedule has at most {STEPS_MAX} steps")
    return RetrySchedule(steps_ms, _duration_ms(total) if repeats else None)


def _until_date_ms(text: str, now_ms: int) -> int:
    try:
        at = parsedate_to_datetime(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return int(at.timestamp() * 1_000) - now_ms
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0


def _written(milliseconds: int) -> str:
    """In the largest unit that gives a whole number."""
    unit, size = next((unit, size) for unit, size in reversed(_UNITS_MS.items()) if milliseconds % size == 0)
    return f"{milliseconds // size}{unit}"


def _duration_ms(text: str) -> int:
    match = _DURATION.fullmatch(text.strip())
    milliseconds = 0 if match is None else round(float(match[1]) * _UNITS_MS[match[2]])
    if milliseconds <= 0:
        raise ScheduleInvalid(f"{text.strip()[:40]!r} is not a duration above 0 (500ms, 30s, 1.5m, 12h)")
    return milliseconds
