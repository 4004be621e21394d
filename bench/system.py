"""A whole Atlas of one's own, for a bench or a test: `atlas up` as a child process.

    with System(home, free_port_base()) as atlas:
        atlas.dev["events"]["url"] …

Promises: it serves when the block begins and nothing of it runs after the block. The home is the caller's, and stays:
a second System in the same home goes on with its data.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.local import dev_file
from deploy.local.spawn import end, last_lines, spawn, wait_until

ROOT = Path(__file__).parents[1]
NO_LIMIT_IN_SIGHT = '{"*": {"events": {"per_minute": 100000000, "burst": 100000000}}}'
"""Requests are counted as in production, and never too many."""
START_SECONDS = 120.0
STOP_SECONDS = 30.0


class SystemFailed(Exception):
    """`atlas up` ended or did not serve in time; the message carries its last words."""


class System:
    """`dev` is what dev.json says. Ports are `port_base` and the 29 after it. `root`: the source tree that it is;
    `python` runs it. `environment`: what its processes get.
    """

    def __init__(
        self,
        home: Path,
        port_base: int,
        env: Mapping[str, str] | None = None,
        root: Path = ROOT,
        python: str = sys.executable,
    ) -> None:
        self.home = home
        self._root = root
        self._python = python
        self.output = home / "up.log"
        self.environment = {
            **os.environ,
            "ATLAS_ALLOW_PRIVATE_TARGETS": "1",  # receivers are on this machine
            "ATLAS_RATE_OVERRIDES": NO_LIMIT_IN_SIGHT,
            "PYTHONPATH": str(root),
            **(env or {}),
            "ATLAS_HOME": str(home),
            "ATLAS_PORT_BASE": str(port_base),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dev(self) -> dict[str, Any]:
        content = dev_file.read(self.home)
        if content is None:
            raise SystemFailed("\n".join(last_lines(self.output, 30)))
        return content

    @property
    def pid(self) -> int:
        """Of `atlas up`; the processes are its children."""
        assert self._process is not None, "not started"
        return self._process.pid

    def log(self, process: str) -> str:
        """What one of its processes has logged so far."""
        return (self.home / "logs" / f"{process}.log").read_text(errors="replace")

    def start(self) -> None:
        """Returns when all of it serves. Raises SystemFailed."""
        command = [self._python, "-m", "cli.main", "up"]
        self._process = process = spawn(
            command, log=self.output, env=self.environment, cwd=self._root, when_parent_dies=signal.SIGTERM
        )
        wait_until(lambda: dev_file.read(self.home) is not None or process.poll() is not None, START_SECONDS)
        if dev_file.read(self.home) is None:
            self.stop()
            raise SystemFailed("\n".join(last_lines(self.output, 30)))

    def stop(self) -> None:
        """As Ctrl-C does."""
        if self._process is not None:
            end(self._process, STOP_SECONDS)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
