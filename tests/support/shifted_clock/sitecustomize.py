"""On PYTHONPATH it shifts the wall clock that a process reads by CLOCK_SHIFT_SECONDS, before anything else is imported.

The monotonic clock stays as it is, as after a step of the wall clock. (libfaketime stops librdkafka's timed waits.)
"""

import os
import time

_seconds = int(os.environ.get("CLOCK_SHIFT_SECONDS", "0"))
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _seconds
time.time_ns = lambda: _time_ns() + _seconds * 1_000_000_000
