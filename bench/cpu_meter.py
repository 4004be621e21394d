"""How much of a core each process uses while something is measured."""

import time
from collections.abc import Mapping

import psutil


class CpuMeter:
    """From its making on. `pids` by the name that is shown."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._began_seconds = time.monotonic()
        self._before = self._used_seconds()

    def cores_used(self) -> dict[str, float]:
        """1.0: a whole core all the time."""
        seconds = time.monotonic() - self._began_seconds
        return {name: (used - self._before[name]) / seconds for name, used in self._used_seconds().items()}

    def _used_seconds(self) -> dict[str, float]:
        times = {name: process.cpu_times() for name, process in self._processes.items()}
        return {name: used.user + used.system for name, used in times.items()}
