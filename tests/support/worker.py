"""One process of processors, as `atlas up` runs it, for tests that start, kill and ask it."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from deploy.local.spawn import end, end_now, last_lines, spawn, wait_until
from operations.settings import ensure_master_key
from tests.support.ports import free_port

READY_TIMEOUT_SECONDS = 90.0
STOP_TIMEOUT_SECONDS = 20.0
ROOT = Path(__file__).parents[2]


class Worker:
    """`python -m processors <group>` with a home of its own; `log` keeps what it said over all its lives."""

    def __init__(
        self, group: str, bootstrap: str, home: Path, *, module: str = "processors", **environment: str
    ) -> None:
        """`module`: what runs instead, with the group as its argument."""
        ensure_master_key(home)
        self._module = module
        self.log = home / f"{group}.log"
        self._group = group
        self.operations_port = free_port()
        self._environment = {
            "PATH": os.environ["PATH"],
            "ATLAS_HOME": str(home),
            "ATLAS_KAFKA": bootstrap,
            "ATLAS_METRICS_PORT": str(self.operations_port),
            "ATLAS_DRAIN_SECONDS": "0",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def set(self, **environment: str) -> None:
        """For the lives from the next start on."""
        self._environment |= environment

    def start(self) -> None:
        command = [sys.executable, "-m", self._module, self._group]
        self._process = spawn(command, log=self.log, env=self._environment, cwd=ROOT)

    def start_until_ready(self) -> None:
        self.start()
        self.wait_until_ready()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def ready_url(self) -> str:
        return f"http://127.0.0.1:{self.operations_port}/readyz"

    def wait_until_ready(self) -> None:
        if not wait_until(lambda: self.missing() == {}, READY_TIMEOUT_SECONDS):
            lines = "\n".join(last_lines(self.log, 40))
            raise AssertionError(f"{self._group} is not ready: {self.missing()}\n{lines}")

    def missing(self) -> dict[str, str]:
        """What /readyz says is missing; {} when ready."""
        missing: dict[str, str] = self.readyz().get("missing", {})
        return missing

    def degraded(self) -> dict[str, str]:
        degraded: dict[str, str] = self.readyz().get("degraded", {})
        return degraded

    def readyz(self) -> dict[str, Any]:
        """The body, whatever the status."""
        try:
            with urllib.request.urlopen(self.ready_url, timeout=5) as answer:
                body: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                body = json.load(error)
        except OSError as error:
            return {"missing": {"process": str(error)}}
        return body

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 where it is not there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.operations_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def kill(self) -> None:
        """SIGKILL, wherever it stands."""
        assert self._process is not None
        end_now(self._process)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        return end(self._process, STOP_TIMEOUT_SECONDS)

    def ended(self) -> int:
        """The exit code of one that ends by itself."""
        assert self._process is not None
        return self._process.wait(READY_TIMEOUT_SECONDS)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
