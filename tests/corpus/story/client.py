"""What the parts of the story have to act with: an installation that runs, and what it has told so far."""

import asyncio
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
from confluent_kafka import Producer

from bench.system import ROOT, System
from tests.support.openai_server import OpenAiServer
from tests.support.provider_stub import ProviderStub
from tests.support.receiver import Receiver

ISSUER, AUDIENCE, SESSION_SECRET = "https://id.example.com", "atlas", "0123456789abcdef" * 4
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
UNREACHABLE_URL = "http://127.0.0.1:62999"
"""Nobody listens there, beyond the ports that tests and systems give out: what goes there waits, also later."""
PARTITIONS = 2
WAIT_SECONDS = 90.0
ENV = {
    "ATLAS_PARTITIONS": str(PARTITIONS),
    "ATLAS_JWT_ISSUER": ISSUER,
    "ATLAS_JWT_AUDIENCE": AUDIENCE,
    "ATLAS_JWT_SECRET": SESSION_SECRET,
    "ATLAS_RETRY_LADDER": "events:300ms,12h;work:300ms..1s",
    "ATLAS_VERDICT_TIMEOUT_SECONDS": "30",
    "ATLAS_READ_TIMEOUT_SECONDS": "30",
}
EVENT = {"stream": "orders", "type": "order.fulfilled", "occurred_at": "2026-05-18T14:22:11.5+02:00"}


@dataclass
class Told:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Story:
    """`reads`: GET requests (surface, path) whose answers do not change any more when the story is over. `positions`:
    values of `Atlas-Position`, of an event and of a command.
    """

    def __init__(
        self,
        atlas: System,
        session: aiohttp.ClientSession,
        receiver: Receiver,
        provider: ProviderStub,
        llm: OpenAiServer,
    ) -> None:
        self._atlas, self._session = atlas, session
        self.receiver, self.provider, self.llm = receiver, provider, llm
        self.reads: list[tuple[str, str]] = []
        self.positions: list[str] = []
        dev = atlas.dev
        self.workspace: str = dev["events"]["workspace_id"]
        self.org: str = dev["burn"]["org_id"]
        self.urls: dict[str, str] = {name: dev[name]["url"] for name in ("events", "work", "spine", "burn")}
        self.keys: dict[str, str] = {
            "events": dev["events"]["live_key"],
            "test": dev["events"]["test_key"],
            "publishable": dev["events"]["publishable_key"],
            "work": dev["work"]["pat"],
            "read_only": dev["work"]["read_only_pat"],
            "spine": dev["spine"]["key"],
            "burn": dev["burn"]["key"],
            "session": a_session(self.workspace),
        }
        self.producer = Producer({"bootstrap.servers": dev["kafka"], "partitioner": "murmur2_random", "linger.ms": 0})

    async def ask(
        self, surface: str, method: str, path: str, body: object = None, *, key: str | None = None, **headers: str
    ) -> Told:
        """`body`: an object, or bytes as they are; `headers` with `_` for `-`."""
        sent = {"Authorization": f"Bearer {self.keys[key or surface]}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        data = None if content is None else io.BytesIO(content)
        async with self._session.request(method, self.urls[surface] + path, data=data, headers=sent) as response:
            return Told(response.status, dict(response.headers), await response.read())

    async def good(self, surface: str, method: str, path: str, body: object = None, **more: Any) -> Any:
        told = await self.ask(surface, method, path, body, **more)
        assert 200 <= told.status < 300, (method, path, told.status, told.body)
        return told.json if told.body else None

    async def made(self, surface: str, path: str, body: object, **more: Any) -> Any:
        return await self.good(surface, "POST", path, body, **more)

    async def until(self, surface: str, path: str, enough: Callable[[Any], bool], **more: Any) -> Any:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            told = await self.ask(surface, "GET", path, **more)
            if told.status == 200 and enough(told.json):
                return told.json
            assert time.monotonic() < deadline, (path, told.status, told.body)
            await asyncio.sleep(0.1)

    def command_line(self, *arguments: str) -> None:
        """`atlas …` beside the installation."""
        env = {**os.environ, **ENV, "ATLAS_HOME": str(self._atlas.home), "ATLAS_KAFKA": self._atlas.dev["kafka"]}
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def a_session(workspace: str) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "usr_1", "workspace": workspace, "exp": 4_102_444_800}
    return jwt.encode(claims, SESSION_SECRET, algorithm="HS256")
