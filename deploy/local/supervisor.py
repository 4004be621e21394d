"""Looks after child processes in one thread: starts, waits until they serve, restarts what ends, stops all in order.

Knows nothing of Atlas: it is handed ProcessSpecs. Must run in the main thread (signals, and the children's lifeline).
Ctrl-C and SIGTERM ask for the stop; a second one kills at once.
"""

import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from deploy.local.child import Child, ProcessSpec
from deploy.local.decide import stop_groups
from deploy.local.messages import Say

LOOK_INTERVAL_SECONDS = 0.1
STOP_PATIENCE_SECONDS = 4.5  # for each group of processes, and what the groups before it left; three stay within 15 s
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(Exception):
    """Ctrl-C or SIGTERM came while something was waited for."""


class NotReady(Exception):
    """Some processes did not serve in time; the message names them and what they say."""


class Supervisor:
    def __init__(self, logs: Path, say: Say) -> None:
        self._logs = logs
        self._say = say
        self._children: dict[str, Child] = {}
        self._stops_requested = 0

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """While inside, the stop signals raise StopRequested at the next look, and never in between."""
        before = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self, specs: Sequence[ProcessSpec]) -> None:
        for spec in specs:
            child = self._children[spec.name] = Child(spec, self._logs, self._say)
            child.start(time.monotonic())

    def pid(self, name: str) -> int | None:
        """None while that process is down."""
        return self._children[name].pid

    def wait_ready(self, names: Iterable[str], timeout_seconds: float) -> None:
        """Returns when each of these serves. Raises NotReady, StopRequested.

        The time-out starts again whenever a process reports progress, as long as none has ended: a process may have a
        long log to catch up with.
        """
        deadline = time.monotonic() + timeout_seconds
        waiting, pids = list(names), self._pids()
        reasons: dict[str, str | None] = {}
        while waiting:
            self.look()
            before, reasons = reasons, {name: self._not_ready(name) for name in waiting}
            waiting = [name for name in waiting if reasons[name] is not None]
            if reasons != before and self._pids() == pids:
                deadline = time.monotonic() + timeout_seconds
            if waiting and time.monotonic() >= deadline:
                missing = "; ".join(f"{name}: {reasons[name]}" for name in waiting)
                raise NotReady(f"not ready after {timeout_seconds:g} s: {missing}. Logs: {self._logs}")

    def watch(self) -> None:
        """Looks after all until a stop is asked for; then raises StopRequested."""
        while True:
            self.look()

    def look(self) -> None:
        """One round over all children, and a short rest. Raises StopRequested."""
        if self._stops_requested:
            raise StopRequested
        for child in self._children.values():
            child.look_after(time.monotonic())
        time.sleep(LOOK_INTERVAL_SECONDS)

    def stop(self) -> None:
        """Stops group after group; what has not ended in time, or at a second Ctrl-C, is killed. Nothing is left."""
        deadline = time.monotonic()
        for names in stop_groups((name, child.spec.stop_group) for name, child in self._children.items()):
            group = [self._children[name] for name in names]
            for child in group:
                child.ask_to_stop()
            deadline += STOP_PATIENCE_SECONDS
            self._wait_gone(group, deadline)
            for child in group:
                if child.pid is not None:
                    self._say(f"{child.spec.name} did not stop in time and is killed")
                child.end()

    def _wait_gone(self, group: list[Child], deadline: float) -> None:
        while any(child.pid is not None for child in group):
            if time.monotonic() >= deadline or self._stops_requested > 1:
                return
            time.sleep(0.02)

    def _pids(self) -> list[int | None]:
        return [child.pid for child in self._children.values()]

    def _not_ready(self, name: str) -> str | None:
        child = self._children[name]
        return "it is not running" if child.pid is None else child.spec.not_ready()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stops_requested += 1
