"""A broker, control and projection as processes, and the work surface's gateway in this one, for tests and benches."""

import io
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import msgspec

from deploy.local.broker import Broker
from ingest_gateway.log.bootstrap import ask_for_workspace
from ingest_gateway.log.clients import LogClients, log_clients
from ingest_gateway.surfaces.served import serving
from ingest_gateway.surfaces.surface import Surface
from ingest_gateway.surfaces.work.app import WORK
from operations.random_ids import short_id
from operations.settings import Settings
from schemas.ids import WORKSPACE
from tests.support import answers
from tests.support.kafka_topics import ensure_base_topics
from tests.support.ports import free_port
from tests.support.processor import Processor

ISSUER, AUDIENCE, SESSION_SECRET = "https://id.example.com", "atlas", "0123456789abcdef" * 4
SESSIONS = {"ATLAS_JWT_ISSUER": ISSUER, "ATLAS_JWT_AUDIENCE": AUDIENCE, "ATLAS_JWT_SECRET": SESSION_SECRET}
PROCESSES = ("control", "projection", "admission", "delivery", "lifecycle")
PATIENCE = {"ATLAS_VERDICT_TIMEOUT_SECONDS": "30", "ATLAS_READ_TIMEOUT_SECONDS": "30"}


class Answer(answers.Answer):
    @property
    def code(self) -> str:
        """Of a problem."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.body
        return str(self.json["title"])

    @property
    def fields(self) -> list[str]:
        return [error["field"] for error in self.json["errors"]]


@dataclass
class WorkSurface:
    """`keys`: the workspace's tokens by name: `pat`, `read_only_pat`, `live` and so on."""

    url: str
    workspace: str
    keys: dict[str, str]
    session: aiohttp.ClientSession
    clients: LogClients
    settings: Settings

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = "pat",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`key`: a name in `keys`, `session`, or None. `body`: an object, or bytes as they are."""
        sent = dict(headers or {})
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {self.a_session() if key == 'session' else self.keys[key]}")
        content = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        stream = None if content is None else io.BytesIO(content)  # as aiohttp wants large bodies
        async with self.session.request(method, self.url + path, data=stream, headers=sent) as response:
            return Answer(response.status, response.headers, await response.read())

    async def made(self, path: str, body: object, **more: Any) -> Any:
        """The body of a POST's 201."""
        answer = await self.ask("POST", path, body, **more)
        assert answer.status == 201, answer.body
        return answer.json

    async def a_project(self, name: str = "Q3 forecast") -> str:
        project_id: str = (await self.made("/v1/projects", {"name": name}))["id"]
        return project_id

    def a_session(self, **claims: Any) -> str:
        whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "usr_1", "workspace": self.workspace, "exp": time.time() + 600}
        return jwt.encode({**whole, **claims}, SESSION_SECRET, algorithm="HS256")


@dataclass
class WorkInstallation:
    broker: Broker
    home: Path
    master_key: bytes
    processors: dict[str, Processor]
    environment: dict[str, str]

    def pids(self) -> dict[str, int]:
        """Of the broker and the processes, by name."""
        assert self.broker.pid is not None
        return {"broker": self.broker.pid} | {group: processor.pid for group, processor in self.processors.items()}

    def settings(self, **env: str) -> Settings:
        free = {f"ATLAS_{name}_PORT": "0" for name in ("EVENTS", "WORK", "SPINE", "BURN", "METRICS")}
        return Settings.from_env({**self.environment, **free, **env})

    @asynccontextmanager
    async def surface(self, surfaces: Sequence[Surface] = (WORK,), **env: str) -> AsyncIterator[WorkSurface]:
        """A gateway with a new workspace; requests are not counted unless `ATLAS_RATE_LIMITS` says on. `url`: that of
        the first surface.
        """
        settings = self.settings(**{"ATLAS_RATE_LIMITS": "off", **PATIENCE, **SESSIONS, **env})
        async with log_clients(settings) as clients:
            await clients.ready()
            workspace = short_id(WORKSPACE)
            made = await ask_for_workspace(clients, self.master_key, workspace, "Test")
            keys = {name.removesuffix("_key"): token for name, token in made.items() if name.endswith("_key")}
            async with serving(settings, clients, surfaces) as ports, aiohttp.ClientSession() as session:
                url = f"http://127.0.0.1:{ports[surfaces[0].name]}"
                yield WorkSurface(url, workspace, keys, session, clients, settings)


@contextmanager
def an_installation(home: Path, groups: Sequence[str] = PROCESSES, **env: str) -> Iterator[WorkInstallation]:
    master_key = secrets.token_bytes(32)
    broker = Broker(home / "broker", free_port(), free_port(), heap_mb=256)
    environment = {"ATLAS_HOME": str(home), "ATLAS_MASTER_KEY": master_key.hex(), "ATLAS_KAFKA": broker.bootstrap}
    environment |= {"ATLAS_ALLOW_PRIVATE_TARGETS": "1", **env}
    with ExitStack() as stack:
        broker.start()
        stack.callback(broker.kill)
        ensure_base_topics(broker.bootstrap)
        processors = {}
        for group in groups:
            processors[group] = Processor(group, broker.bootstrap, home, **environment)
            processors[group].spawn()
            stack.callback(processors[group].kill)
        for processor in processors.values():
            processor.wait_until_ready()
        yield WorkInstallation(broker, home, master_key, processors, environment)
