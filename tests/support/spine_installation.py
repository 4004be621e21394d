"""A broker, all processes that the spine needs, and its gateway in this process, for tests and benches."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from domain.entities.organizations import org_of
from ingest_gateway.log.bootstrap import ask_for_workspace
from ingest_gateway.log.clients import LogClients, log_clients
from ingest_gateway.surfaces.served import serving
from ingest_gateway.surfaces.spine.app import SPINE
from operations.random_ids import short_id
from operations.settings import Settings
from schemas.ids import WORKSPACE
from tests.support.work_installation import PATIENCE, WorkInstallation, an_installation

TRIES = 20
LINE_BYTES_MAX = 4 * 1024 * 1024  # of a server-sent event
PROCESSES = ("control", "projection", "admission", "delivery")


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    json: Any


@dataclass
class Frame:
    """One server-sent event."""

    id: str = ""
    event: str = ""
    data: Any = None


@dataclass
class Spine:
    url: str
    workspace: str
    key: str
    session: aiohttp.ClientSession
    clients: LogClients
    settings: Settings

    @property
    def org(self) -> str:
        return org_of(self.workspace)

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        sent = {"Authorization": f"Bearer {self.key}"} | {name.replace("_", "-"): one for name, one in headers.items()}
        async with self.session.request(method, self.url + path, json=body, headers=sent) as response:
            text = await response.read()
            return Answer(response.status, response.headers, json.loads(text) if text else None)

    async def publish(self, kind: str, data: object = None, **metadata: Any) -> Any:
        event = {"type": kind, "source": "tests", "data": data or {}, "metadata": metadata}
        answer = await self.ask("POST", "/v1/events", event)
        assert answer.status == 201, answer.json
        return answer.json

    async def subscribe(self, url: str, *patterns: str, secret: str = "whsec_xxxxxxxx", **more: Any) -> str:
        body = {"eventTypes": list(patterns), "webhookUrl": url, "secret": secret, **more}
        answer = await self.ask("POST", "/v1/events/subscriptions", body)
        assert answer.status == 201, answer.json
        made: str = answer.json["subscriptionId"]
        return made

    @asynccontextmanager
    async def live(self, parameters: str = "", last_id: str = "") -> AsyncIterator["LiveStream"]:
        headers = {"Authorization": f"Bearer {self.key}"} | ({"Last-Event-ID": last_id} if last_id else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        url = f"{self.url}/v1/events/stream{parameters}"
        response = await self.session.get(url, headers=headers, timeout=timeout)
        for _ in range(TRIES):
            if response.status != 503:  # the log was slow to say where it ends; a client asks again
                break
            response.release()
            await asyncio.sleep(0.5)
            response = await self.session.get(url, headers=headers, timeout=timeout)
        async with response:
            assert response.status == 200, await response.read()
            yield LiveStream(response)


@dataclass
class LiveStream:
    response: aiohttp.ClientResponse
    last_id: str = ""

    def __post_init__(self) -> None:
        self.last_id = self.response.headers["Last-Event-ID"]

    async def frame(self) -> Frame:
        """The next one, comments and `retry` left out."""
        found, data = Frame(), ""
        while True:
            raw = await self.response.content.readline()
            if not raw:
                raise ConnectionResetError("the stream ended")
            line = raw.decode().rstrip("\n")
            if line.startswith("id: "):
                found.id = self.last_id = line[4:]
            elif line.startswith("event: "):
                found.event = line[7:]
            elif line.startswith("data: "):
                data += line[6:] + "\n"
            elif not line:
                assert data, "a blank line ends an event"
                found.data = json.loads(data)
                return found

    async def events(self, count: int) -> list[Frame]:
        return [await self.frame() for _ in range(count)]


@contextmanager
def spine_installation(home: Path) -> Iterator[WorkInstallation]:
    with an_installation(home, PROCESSES) as installed:
        yield installed


@asynccontextmanager
async def a_spine(installed: WorkInstallation, **env: str) -> AsyncIterator[Spine]:
    """A gateway with a new workspace; requests are not counted unless `ATLAS_RATE_LIMITS` says on."""
    more = {"ATLAS_RATE_LIMITS": "off", "ATLAS_SPINE_PORT": "0", "ATLAS_ALLOW_PRIVATE_TARGETS": "1"}
    settings = installed.settings(**{**PATIENCE, **more, **env})
    async with log_clients(settings) as clients:
        await clients.ready()
        workspace = short_id(WORKSPACE)
        made = await ask_for_workspace(clients, installed.master_key, workspace, "Test")
        session = aiohttp.ClientSession(read_bufsize=LINE_BYTES_MAX)
        async with serving(settings, clients, [SPINE]) as ports, session:
            yield Spine(f"http://127.0.0.1:{ports['spine']}", workspace, made["spine_key"], session, clients, settings)
