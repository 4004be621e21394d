"""Debian's Prometheus as a test runs it: with the shipped configuration, on a free port, gone with the block."""

import json
import math
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.local.spawn import end, last_lines, spawn, wait_until
from tests.support.ports import free_port

PROGRAM = shutil.which("prometheus")
START_SECONDS = 30.0


class Prometheus:
    def __init__(self, configuration: Path, scratch: Path) -> None:
        self._url = f"http://127.0.0.1:{free_port()}"
        self._log = scratch / "prometheus.log"
        self._command = [
            str(PROGRAM),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={scratch / 'tsdb'}",
            f"--web.listen-address={self._url.removeprefix('http://')}",
            "--log.level=warn",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def values(self, expr: str) -> list[float]:
        """The finite values that the query has now. Raises AssertionError when Prometheus refuses it."""
        result = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expr}))["result"]
        values = [float(series["value"][1]) for series in result]
        return [value for value in values if math.isfinite(value)]

    def targets_up(self) -> int:
        return sum(target["health"] == "up" for target in self._get("/api/v1/targets")["activeTargets"])

    def rules_failing(self) -> list[str]:
        """Alerts that can't be evaluated."""
        groups = self._get("/api/v1/rules")["groups"]
        return [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "err"]

    def __enter__(self) -> Self:
        self._process = spawn(self._command, log=self._log)
        assert wait_until(self._serves, START_SECONDS), last_lines(self._log, 20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            end(self._process, 5)

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(self._url + "/-/ready", timeout=2):
                return True
        except OSError:
            return False

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self._url + path, timeout=30) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{path}: {refused.read().decode()}") from None
        return data
