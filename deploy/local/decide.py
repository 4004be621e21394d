"""What the supervisor decides, without doing any of it: when a crashed process starts again, in which order all stop.

Pure: no clock, no processes; times are durations in seconds.
"""

import signal
from collections.abc import Iterable
from dataclasses import dataclass

RESTART_DELAY_SECONDS_MIN = 0.5
RESTART_DELAY_SECONDS_MAX = 10.0
STEADY_SECONDS = 30.0  # having run this long, a process owes nothing for its earlier crashes


@dataclass(frozen=True)
class Restart:
    """`failures` counts the crashes in a row, this one included."""

    failures: int
    delay_seconds: float


def restart(failures_before: int, ran_seconds: float) -> Restart:
    """The delay doubles with each crash in a row: 0.5, 1, 2, 4, 8, then 10 s for good. A process is never given up."""
    failures = 1 if ran_seconds >= STEADY_SECONDS else failures_before + 1
    doublings = min(failures - 1, 10)
    return Restart(failures, min(RESTART_DELAY_SECONDS_MAX, RESTART_DELAY_SECONDS_MIN * 2**doublings))


def exit_sentence(name: str, code: int, ran_seconds: float, delay_seconds: float) -> str:
    """One sentence for people; a negative code is the signal that ended the process, as in subprocess."""
    how = f"exited with code {code}" if code >= 0 else f"was ended by {_signal_name(-code)}"
    return f"{name} {how} after {ran_seconds:.1f} s; it starts again in {delay_seconds:g} s"


def stop_groups(groups: Iterable[tuple[str, int]]) -> list[list[str]]:
    """The names of each stop group, the lowest first. Those of one stop together, before the next group is asked to."""
    by_group: dict[int, list[str]] = {}
    for name, group in groups:
        by_group.setdefault(group, []).append(name)
    return [by_group[group] for group in sorted(by_group)]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
