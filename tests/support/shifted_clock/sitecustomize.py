"""On PYTHONPATH it shifts the wall clock that a process reads by CLOCK_SHIFT_SECONDS, before anything else is imported;
where CLOCK_SHIFT_FILE is set, by the seconds that stand in it at the time, so that the clock steps as the file changes.

The monotonic clock stays as it is, as after a step of the wall clock. (libfaketime stops librdkafka's timed waits.)
"""

import os
import time

_seconds = int(os.environ.get("CLOCK_SHIFT_SECONDS", "0"))
_file = os.environ.get("CLOCK_SHIFT_FILE")
_time, _time_ns = time.time, time.time_ns


def _shift_seconds() -> int:
    if _file is None:
        return _seconds
    with open(_file) as file:  # noqa: PTH123 — nothing else is imported yet
        return int(file.read() or _seconds)


time.time = lambda: _time() + _shift_seconds()
time.time_ns = lambda: _time_ns() + _shift_seconds() * 1_000_000_000
