"""What the bench runs against: a broker, the control process, one gateway, the provider's stub, an organization."""

import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench.edge.load import Way
from deploy.local.broker import Broker
from domain.entities.organizations import org_of
from ingest_gateway.log.bootstrap import ask_for_workspace, with_clients
from ingest_gateway.surfaces.burn.app import HEADER
from operations.random_ids import short_id
from operations.settings import Settings
from schemas.ids import WORKSPACE
from tests.support.gateway_process import GatewayProcess
from tests.support.kafka_topics import ensure_base_topics
from tests.support.ports import free_port
from tests.support.processor import Processor

ROOT = Path(__file__).parents[2]
CHAT = "/chat/completions"
OFF = {"mode": "off"}
QUIET: dict[str, Any] = {"dumb_loop": OFF, "burst": OFF, "smart_loop": OFF, "ping_pong": OFF}


@dataclass
class World:
    """`key` is the organization's; its guardrails are off but for what `set_policy` sets."""

    stub: str
    url: str
    key: str
    organization: str
    gateway: psutil.Process

    @property
    def direct(self) -> Way:
        return Way(f"{self.stub}/v1{CHAT}", {"Authorization": "Bearer sk-bench"})

    @property
    def proxied(self) -> Way:
        return Way(f"{self.url}/openai/v1{CHAT}", {"Authorization": "Bearer sk-bench", HEADER: self.key})

    def set_policy(self, **policy: Any) -> None:
        self._ask("PUT", "/api/guardrails/policy", {**QUIET, **policy})

    def status(self) -> Any:
        return self._ask("GET", "/api/guardrails/status")

    def upstream_calls(self) -> int:
        with urllib.request.urlopen(f"{self.stub}/count", timeout=30) as answer:
            return int(answer.read())

    def forget_calls(self) -> None:
        urllib.request.urlopen(f"{self.stub}/reset", timeout=30).close()

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(self.url + path, content, method=method)
        request.add_header(HEADER, self.key)
        if content is not None:
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return msgspec.json.decode(answer.read())


@contextmanager
def provider() -> Iterator[str]:
    """The stub's address."""
    command = [sys.executable, "-m", "bench.edge.stub"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


@contextmanager
def world(home: Path) -> Iterator[World]:
    """All of it, in `home`; nothing is left when it is left."""
    broker = Broker(home / "broker", free_port(), free_port(), heap_mb=256)
    broker.start()
    env = {"ATLAS_MASTER_KEY": secrets.token_hex(32), "DATABASE_URL": f"sqlite:///{home / 'read-model.sqlite'}"}
    control = gateway = None
    try:
        ensure_base_topics(broker.bootstrap)
        control = Processor("control", broker.bootstrap, home / "control", **env).start()
        with provider() as stub:
            port = free_port()
            gateway = GatewayProcess(broker.bootstrap, home / "gateway", **env, ATLAS_RATE_LIMITS="off")
            gateway.set(
                ATLAS_SURFACES="burn",
                ATLAS_BURN_PORT=str(port),
                ATLAS_EDGE_PROVIDERS=f'{{"openai": "{stub}/v1"}}',
                ATLAS_LOG_LEVEL="WARNING",
                ATLAS_VERDICT_TIMEOUT_SECONDS="30",
            )
            gateway.start_until_ready()
            workspace, key = _organization(env | {"ATLAS_KAFKA": broker.bootstrap, "ATLAS_HOME": str(home)})
            running = World(stub, f"http://127.0.0.1:{port}", key, org_of(workspace), psutil.Process(gateway.pid))
            running.set_policy()
            yield running
    finally:
        for process in (gateway, control):
            if process is not None:
                process.kill()
        broker.kill()


def _organization(env: dict[str, str]) -> tuple[str, str]:
    settings = Settings.from_env(env)
    workspace = short_id(WORKSPACE)
    made = with_clients(settings, lambda clients: ask_for_workspace(clients, settings.master_key, workspace, "Bench"))
    return workspace, made["burn_key"]
