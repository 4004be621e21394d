"""The real gateway on a broker of this folder's own, with the control process's decisions behind it."""

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest

from deploy.local.broker import Broker
from ingest_gateway.log.bootstrap import ask_for_workspace
from ingest_gateway.log.clients import LogClients, log_clients
from ingest_gateway.surfaces.events.app import EVENTS
from ingest_gateway.surfaces.served import serving
from operations.random_ids import short_id
from operations.read_model_engine import writer_engine
from operations.settings import Settings
from processors.projection.store import Store
from schemas.ids import WORKSPACE
from tests.support import answers
from tests.support.control_stand_in import StandInControl, control_stand_in
from tests.support.kafka_topics import ensure_base_topics
from tests.support.ports import free_port

MASTER_KEY = secrets.token_bytes(32)


@pytest.fixture(scope="package")
def bootstrap() -> Iterator[str]:
    """A broker whose `commands` no other test's control process reads."""
    home = Path(tempfile.mkdtemp(prefix="atlas-gateway-"))
    broker = Broker(home / "broker", free_port(), free_port(), heap_mb=256)
    broker.start()
    ensure_base_topics(broker.bootstrap)
    yield broker.bootstrap
    broker.kill()
    shutil.rmtree(home)


class Answer(answers.Answer):
    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def fields(self) -> list[str]:
        return [error["field"] for error in self.json["error"]["details"]["errors"]]


@dataclass
class Gateway:
    """`keys`: tokens of the workspace (`live`, `test`, `publishable`) by name."""

    url: str
    workspace: str
    keys: dict[str, str]
    session: aiohttp.ClientSession
    clients: LogClients
    control: StandInControl
    store: Store
    settings: Settings

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = "live",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {self.keys[key]}"
        content = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.url + path, data=content, headers=sent) as response:
            return Answer(response.status, response.headers, await response.read())


def settings_for(bootstrap: str, home: Path, **env: str) -> Settings:
    return Settings.from_env(
        {
            "ATLAS_HOME": str(home),
            "ATLAS_KAFKA": bootstrap,
            "ATLAS_MASTER_KEY": MASTER_KEY.hex(),
            "ATLAS_EVENTS_PORT": "0",
            "ATLAS_METRICS_PORT": "0",
            **env,
        }
    )


@asynccontextmanager
async def a_gateway(bootstrap: str, home: Path, **env: str) -> AsyncIterator[Gateway]:
    settings = settings_for(bootstrap, home, **env)
    store = Store(writer_engine(settings.database_url))
    store.prepare()
    async with control_stand_in(bootstrap, MASTER_KEY) as control, log_clients(settings) as clients:
        await clients.ready()
        workspace = short_id(WORKSPACE)
        made = await ask_for_workspace(clients, MASTER_KEY, workspace, "Test")
        keys = {name.removesuffix("_key"): token for name, token in made.items() if name.endswith("_key")}
        async with serving(settings, clients, [EVENTS]) as ports, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{ports['events']}"
            yield Gateway(url, workspace, keys, session, clients, control, store, settings)
    store.close()


@pytest.fixture
def read_timeout_seconds() -> float:
    """Parametrize it with less where a read is to be told that the read model is behind: it waits that long."""
    return 30.0


@pytest.fixture
async def gateway(bootstrap: str, tmp_path: Path, read_timeout_seconds: float) -> AsyncIterator[Gateway]:
    patience = {"ATLAS_VERDICT_TIMEOUT_SECONDS": "30", "ATLAS_READ_TIMEOUT_SECONDS": str(read_timeout_seconds)}
    async with a_gateway(bootstrap, tmp_path, **patience) as gateway:
        yield gateway
