"""One supervised process: started, looked after, started again when it ends, its log kept within bounds."""

import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.decide import exit_sentence, restart
from deploy.local.messages import Say
from deploy.local.spawn import end_now, last_lines, signal_group, spawn

LOG_BYTES_MAX = 16 * 1024 * 1024
LAST_LINES_SHOWN = 15


@dataclass(frozen=True)
class ProcessSpec:
    """What to run and how to tell that it serves.

    `not_ready` returns None once the process serves, else the sentence that says what is missing; it may take a second.
    Processes of a lower `stop_group` stop first; those of one group stop together.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    not_ready: Callable[[], str | None]
    stop_group: int = 0
    when_parent_dies: signal.Signals = signal.SIGKILL
    cwd: Path | None = field(default=None)


class Child:
    """All times are of the monotonic clock, handed in by the supervisor."""

    def __init__(self, spec: ProcessSpec, logs: Path, say: Say) -> None:
        self.spec = spec
        self.log = logs / f"{spec.name}.log"
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._log_byte = 0  # where this life's lines begin
        self._starts_at: float | None = None  # set while it is down and waits for its next start
        self._failures = 0

    @property
    def pid(self) -> int | None:
        """None while it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, now: float) -> None:
        self._starts_at = None
        self._started_at = now
        self._log_byte = self.log.stat().st_size if self.log.exists() else 0
        self._process = spawn(
            self.spec.command,
            log=self.log,
            env=self.spec.env,
            cwd=self.spec.cwd,
            when_parent_dies=self.spec.when_parent_dies,
        )

    def look_after(self, now: float) -> None:
        """To be called often: notices the end of the process, and starts it again when that is due."""
        keep_within(self.log, LOG_BYTES_MAX)
        if self._starts_at is not None:
            if now >= self._starts_at:
                self.start(now)
        elif self._process is not None and (code := self._process.poll()) is not None:
            self._ended(code, now)

    def ask_to_stop(self) -> None:
        """SIGTERM to the group; a process that waits for its next start does not get one."""
        self._starts_at = None
        if self.pid is not None and self._process is not None:
            signal_group(self._process, signal.SIGTERM)

    def end(self) -> None:
        """Returns when nothing of its group is left."""
        if self._process is not None:
            end_now(self._process)

    def _ended(self, code: int, now: float) -> None:
        if self._process is not None:
            end_now(self._process)  # what it started must not meet its successor
        ran_seconds = now - self._started_at
        again = restart(self._failures, ran_seconds)
        self._failures = again.failures
        self._starts_at = now + again.delay_seconds
        lines = "".join(f"\n    {line}" for line in last_lines(self.log, LAST_LINES_SHOWN, self._log_byte))
        self._say(exit_sentence(self.spec.name, code, ran_seconds, again.delay_seconds) + f". Its last lines:{lines}")


def http_not_ready(url: str, timeout_seconds: float = 1.0) -> str | None:
    """None when `url` (a /readyz) answers 200, else what it says is missing."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_seconds):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return error.read(500).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        return f"no answer yet ({error})"


def keep_within(log: Path, bytes_max: int) -> None:
    """Moves a full log's content to `<name>.log.1` and empties it in place; its writer appends, so it goes on at 0.

    What is written between the copy and the cut is lost; both take milliseconds, once in 16 MiB.
    """
    if log.exists() and log.stat().st_size > bytes_max:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)
