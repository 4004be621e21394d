"""A whole installation as docs/production.md has it, on a cluster that is there: two gateways and every processor, each
a plain process that nobody starts again when it ends.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.system import NO_LIMIT_IN_SIGHT
from deploy.local.spawn import last_lines
from operations.settings import PROCESSES
from tests.support.api import EventsApi
from tests.support.coming_back import Installation
from tests.support.gateway_process import GatewayProcess
from tests.support.ports import free_port
from tests.support.worker import ROOT, Worker

GROUPS = tuple(name for name in PROCESSES if name != "gateway")
GATEWAYS = 2


class PlainInstallation:
    """`workers` by group, `gateways`; `start` makes a workspace and returns when all is ready."""

    def __init__(self, bootstrap: str, home: Path, **environment: str) -> None:
        settings = {"ATLAS_ALLOW_PRIVATE_TARGETS": "1", "ATLAS_RATE_OVERRIDES": NO_LIMIT_IN_SIGHT, **environment}
        self.home = home
        self.workers = {group: Worker(group, bootstrap, home, **settings) for group in GROUPS}
        self.gateways = [GatewayProcess(bootstrap, home, **settings) for _ in range(GATEWAYS)]
        self._burn_ports = [free_port() for _ in self.gateways]
        for number, (gateway, port) in enumerate(zip(self.gateways, self._burn_ports, strict=True)):
            gateway.log = home / f"gateway-{number}.log"
            gateway.set(ATLAS_SURFACES="events,burn", ATLAS_BURN_PORT=str(port))
        self._env = {"PATH": os.environ["PATH"], "ATLAS_HOME": str(home), "ATLAS_KAFKA": bootstrap, **settings}
        self._keys: dict[str, Any] = {}

    @property
    def processes(self) -> list[Worker]:
        return [*self.workers.values(), *self.gateways]

    def start(self) -> None:
        """All at once, as on a new cluster. Raises AssertionError with the last words of one that is not ready."""
        for process in self.processes:
            process.start()
        for process in self.processes:
            process.wait_until_ready()
        command = [sys.executable, "-m", "cli.main", "workspace", "create", "--name", "Three"]
        made = subprocess.run(command, env=self._env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=90)
        assert made.returncode == 0, made.stderr
        self._keys = json.loads(made.stdout)

    def kill(self) -> None:
        for process in self.processes:
            if process.runs:
                process.kill()

    def ended(self) -> list[str]:
        """The processes that are gone, each with its last words."""
        return [f"{one.log.stem}: {last_lines(one.log, 3)}" for one in self.processes if not one.runs]

    def apis(self) -> list[EventsApi]:
        return [EventsApi(gateway.url, self._keys["live_key"]) for gateway in self.gateways]

    def only_workers(self, stream: str) -> Installation:
        return Installation({group: worker.ready_url for group, worker in self.workers.items()}, [], stream)

    def whole(self, stream: str) -> Installation:
        ready = {one.log.stem: one.ready_url for one in self.processes}
        ingests = [EventsApi(f"http://127.0.0.1:{port}", self._keys["burn_key"]) for port in self._burn_ports]
        return Installation(ready, self.apis(), stream, ingests)
