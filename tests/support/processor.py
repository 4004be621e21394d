"""A real `python -m processors <group>` for a test to start, stop, kill and look into."""

import os
import signal
import sys
import urllib.request
from pathlib import Path

from deploy.local.child import http_not_ready
from deploy.local.spawn import end, end_now, last_lines, signal_group, spawn, wait_until
from operations.settings import ensure_master_key
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
STOP_SECONDS = 30.0


class Processor:
    """`home` holds the master key and the log; `settings` are further environment variables."""

    def __init__(self, group: str, kafka: str, home: Path, **settings: str) -> None:
        ensure_master_key(home)
        self._group = group
        self._log = home / f"{group}.log"
        self._port = free_port()
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ATLAS_")},
            "SSL_CERT_FILE": os.devnull,  # reading those of the machine, which no test asks, takes a tenth of a start
            "ATLAS_HOME": str(home),
            "ATLAS_KAFKA": kafka,
            "ATLAS_METRICS_PORT": str(self._port),
            **settings,
        }

    def start(self) -> "Processor":
        """Returns once it is ready. Raises RuntimeError with its last lines. For the main thread; see `spawn`."""
        self.spawn()
        return self.wait_until_ready()

    def spawn(self) -> None:
        """Starts it. The process ends with the thread that calls this: never call it in a thread of a pool."""
        self._process = spawn([sys.executable, "-m", "processors", self._group], log=self._log, env=self._env, cwd=ROOT)

    def wait_until_ready(self) -> "Processor":
        """Raises RuntimeError with its last lines."""
        if not wait_until(self._is_ready_or_gone, READY_SECONDS) or self._process.poll() is not None:
            said = "\n".join(last_lines(self._log, 20))
            self.kill()
            raise RuntimeError(f"{self._group} did not become ready:\n{said}")
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """As kill -9."""
        end_now(self._process)

    def leave(self, patience_seconds: float = 2.0) -> None:
        """Gone, and out of its group where it can be, so that the next process needn't wait for its session to end."""
        self.resume()
        end(self._process, patience_seconds)

    def pause(self) -> None:
        signal_group(self._process, signal.SIGSTOP)

    def resume(self) -> None:
        signal_group(self._process, signal.SIGCONT)

    def ask_to_stop(self) -> None:
        signal_group(self._process, signal.SIGTERM)

    def stopped(self) -> int:
        """Its exit code, once it has ended by itself. Raises TimeoutExpired."""
        return self._process.wait(STOP_SECONDS)

    def stop(self) -> int:
        self.ask_to_stop()
        return self.stopped()

    def metric(self, sample: str) -> float:
        """The value of one sample, as it stands at the start of its line; 0 where there is none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(sample + " ")), 0.0)

    def _is_ready_or_gone(self) -> bool:
        return self._process.poll() is not None or http_not_ready(f"http://127.0.0.1:{self._port}/readyz") is None
