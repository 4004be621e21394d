"""A broker, the control process and projection for this folder's tests, and two gateways over them; each test has an
organization of its own.
"""

import asyncio
import io
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import msgspec
import pytest

from deploy.local.broker import Broker
from domain.entities.organizations import org_of
from ingest_gateway.log.bootstrap import ask_for_workspace
from ingest_gateway.log.clients import LogClients, log_clients
from ingest_gateway.surfaces.burn.app import BURN, HEADER
from ingest_gateway.surfaces.served import serving
from operations.random_ids import short_id
from operations.read_model_engine import writer_engine
from operations.settings import Settings
from processors.projection.store import Store
from schemas.ids import WORKSPACE
from tests.support.answers import Answer
from tests.support.kafka_topics import ensure_base_topics
from tests.support.kv_stub import TOKEN, KvStub, kv_stub
from tests.support.ports import free_port
from tests.support.processor import Processor

PARTITIONS = 8
IDENTITY_PROVIDER = {
    "ATLAS_JWT_ISSUER": "https://console.test",
    "ATLAS_JWT_AUDIENCE": "atlas",
    "ATLAS_JWT_SECRET": secrets.token_hex(32),
}


@dataclass
class Installation:
    kafka: str
    home: Path
    env: dict[str, str]
    kv: KvStub
    """Where the control process mirrors flags and keys."""
    control: Processor
    """May be killed and started again by a test of this folder, which runs alone in its worker."""


@pytest.fixture(scope="package")
def installation() -> Iterator[Installation]:
    home = Path(tempfile.mkdtemp(prefix="atlas-burn-"))
    broker = Broker(home / "broker", free_port(), free_port(), heap_mb=256)
    broker.start()
    ensure_base_topics(broker.bootstrap)
    database = f"sqlite:///{home / 'read-model.sqlite'}"
    store = Store(writer_engine(database))
    store.prepare()
    store.close()
    env = {"ATLAS_MASTER_KEY": secrets.token_hex(32), "DATABASE_URL": database, **IDENTITY_PROVIDER}
    with kv_stub() as kv:
        mirrored = {"CF_ACCOUNT_ID": "acc", "CF_KV_NAMESPACE_ID": "ns", "CF_API_TOKEN": TOKEN, "CF_API_URL": kv.url}
        control = Processor("control", broker.bootstrap, home, **env, **mirrored).start()
        projection = Processor("projection", broker.bootstrap, home, **env).start()
        yield Installation(broker.bootstrap, home, env, kv, control)
        projection.kill()
        control.kill()
        broker.kill()
    shutil.rmtree(home)


@dataclass
class Organization:
    """`clients`, `urls`: of the two gateways."""

    workspace: str
    key: str
    urls: list[str]
    clients: list[LogClients]
    session: aiohttp.ClientSession

    @property
    def id(self) -> str:
        return org_of(self.workspace)

    async def ask(self, method: str, path: str, body: object = None, *, at: int = 0, **headers: str) -> Answer:
        """`at`: which gateway; `headers` with `_` for `-`."""
        sent = {HEADER: self.key} | {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        stream = None if content is None else io.BytesIO(content)  # as aiohttp wants large bodies
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.urls[at] + path, data=stream, headers=sent) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def ask_from_the_console(self, method: str, path: str, body: object = None) -> Answer:
        """With a session of somebody of this organization, and no key."""
        claims = {"sub": "ann", "workspace": self.workspace, "exp": time.time() + 600}
        claims |= {"iss": IDENTITY_PROVIDER["ATLAS_JWT_ISSUER"], "aud": IDENTITY_PROVIDER["ATLAS_JWT_AUDIENCE"]}
        bearer = jwt.encode(claims, IDENTITY_PROVIDER["ATLAS_JWT_SECRET"], algorithm="HS256")
        headers = {"Authorization": f"Bearer {bearer}"}
        async with self.session.request(method, self.urls[0] + path, json=body, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def ingest(self, *calls: dict[str, Any], at: int = 0, **headers: str) -> Any:
        answer = await self.ask("POST", "/api/ingest", {"events": calls}, at=at, **headers)
        assert answer.status == 200, answer.body
        return answer.json


@pytest.fixture
def verdict_seconds() -> float:
    """Parametrize it with less where a verdict is to be missed: a request waits that long."""
    return 30.0


@pytest.fixture
async def organization(
    installation: Installation, tmp_path: Path, verdict_seconds: float
) -> AsyncIterator[Organization]:
    async with AsyncExitStack() as stack:
        urls, clients = [], []
        for number in range(2):
            env = {
                **installation.env,
                "ATLAS_HOME": str(tmp_path / str(number)),
                "ATLAS_KAFKA": installation.kafka,
                "ATLAS_BURN_PORT": "0",
                "ATLAS_SURFACES": "burn",
                "ATLAS_RATE_LIMITS": "off",
                "ATLAS_VERDICT_TIMEOUT_SECONDS": str(verdict_seconds),
                "ATLAS_APPEND_TIMEOUT_SECONDS": "30",
                "ATLAS_READ_TIMEOUT_SECONDS": "30",
            }
            settings = Settings.from_env(env)
            one = await stack.enter_async_context(log_clients(settings))
            await one.ready()
            ports = await stack.enter_async_context(serving(settings, one, [BURN]))
            urls.append(f"http://127.0.0.1:{ports['burn']}")
            clients.append(one)
        workspace = short_id(WORKSPACE)
        made = await ask_for_workspace(clients[0], bytes.fromhex(installation.env["ATLAS_MASTER_KEY"]), workspace, "B")
        session = await stack.enter_async_context(aiohttp.ClientSession())
        await asyncio.gather(*(one.control.catch_up() for one in clients))
        yield Organization(workspace, made["burn_key"], urls, clients, session)
