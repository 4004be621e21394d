"""The burn surface with its edge proxy, on its real HTTP server, in front of a provider stub; the log is in memory.

The log in memory takes what the real one takes, and can be away (`away`) or silent (`confirms`); strict budgets are
decided on it by the guardrails' own rules (`Owner`). tests/pipeline shows the same on a real broker.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp

from domain.security.api_tokens import TokenHasher, mint_token
from domain.security.encrypted_tokens import EncryptedTokens
from domain.security.gateway_signatures import GatewaySigner
from ingest_gateway.http.server import serve
from ingest_gateway.identity.authentication import Authenticator
from ingest_gateway.log.event_log import Appended, EventLog, LogBusy, LogUnavailable
from ingest_gateway.log.live import LiveLog
from ingest_gateway.read_model.cursors import Cursors
from ingest_gateway.services import POSITION_TOKENS, Services
from ingest_gateway.surfaces.burn.app import BURN
from operations import clock
from operations.control_reader import ControlReader
from operations.settings import Settings
from schemas.entities import Key, KeyKind, KillFlag, Policy
from schemas.guardrail_policy import GuardrailPolicy, Scope
from schemas.partitioner import partition_for
from schemas.records import Telemetry, Verdict
from schemas.replies import REPLY_HEADER, decode_reply
from schemas.telemetry import ModelCall, ModelCalls, Settle, TelemetryPayload, decode_payload
from tests.support.events_surface import Away, LocalControl, LocalVerdicts
from tests.support.provider_stub import ProviderStub, provider_stub

WORKSPACE = "ws_7Q2M9K4X1B"
MASTER_KEY = bytes(range(32))
KEY_ID = "key_edge"
TOKEN = mint_token(MASTER_KEY, KeyKind.ORG, "live", KEY_ID)
Decide = Callable[[Telemetry, TelemetryPayload], Verdict | None]
"""(record, payload) → what the owner answers; the correlation is put in. None: it says nothing."""


class EdgeControl(LocalControl):
    def take_keys(self) -> list[Key]:
        """As if none had been read yet."""
        keys = list(self.view.keys.values())
        for key in keys:
            self.view.apply(key.to_entity().key, None)
        return keys


class EdgeLog:
    """What of `EventLog` the burn surface uses."""

    def __init__(self, verdicts: LocalVerdicts) -> None:
        self.records: list[Telemetry] = []
        self.failed: str | None = None
        self.unreachable: str | None = None
        self.confirms = True
        self.busy = False
        self.decide: Decide | None = None
        self.changed = asyncio.Event()
        self._verdicts = verdicts
        self._held: list[asyncio.Future[Appended]] = []

    def append(
        self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]], *, may_repeat: bool = False
    ) -> asyncio.Future[Appended]:
        if self.busy:
            raise LogBusy("full")
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        if not self.confirms:
            self._held.append(future)
            return future
        if self.unreachable is not None:
            raise LogUnavailable(self.unreachable)
        record = Telemetry.decode(value)
        self.records.append(record)
        future.set_result(Appended(topic, partition_for(key, 8), len(self.records) - 1, clock.now_ms()))
        self.changed.set()
        reply = decode_reply(dict(headers).get(REPLY_HEADER))
        verdict = None if self.decide is None else self.decide(record, decode_payload(record))
        if reply is not None and verdict is not None:
            answer = Verdict(**{**_members(verdict), "correlation": reply.correlation})
            asyncio.get_running_loop().call_soon(self._verdicts.deliver, answer)
        return future

    def has_room(self, records: int) -> bool:
        return True

    def fail_held(self) -> None:
        for future in self._held:
            if not future.done():
                future.set_exception(LogUnavailable("not confirmed"))
                future.exception()
        self._held.clear()


@dataclass
class EdgeSurface:
    """The running surface."""

    url: str
    client: aiohttp.ClientSession
    stub: ProviderStub
    log: EdgeLog
    control: EdgeControl
    home: Path

    def calls(self) -> list[ModelCall]:
        """Those on the log, settled ones too."""
        found: list[ModelCall] = []
        for record in self.log.records:
            payload = decode_payload(record)
            if isinstance(payload, ModelCalls):
                found += payload.calls
            elif isinstance(payload, Settle) and payload.call is not None:
                found.append(payload.call)
        return found

    async def wait_for_calls(self, count: int, seconds: float = 20.0) -> list[ModelCall]:
        async with asyncio.timeout(seconds):
            while len(self.calls()) < count:
                self.log.changed.clear()
                await self.log.changed.wait()
        return self.calls()

    @property
    def headers(self) -> dict[str, str]:
        return {"AtlasBurn-API-Key": TOKEN}

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self.client.post(self.url + path, json=body, headers={**self.headers, **headers})

    def suspend(self, layer: str = "dumb_loop_detector", seconds: float | None = 30.0, **more: Any) -> None:
        now_ms = clock.now_ms()
        flag = {"layer": layer, "reason": "fingerprint sha256:b9c1 seen 4 times in 60s", "scope": Scope.ORG, **more}
        ends_ms = None if seconds is None else now_ms + int(seconds * 1_000)
        self.control.put(KillFlag(id=WORKSPACE, workspace=WORKSPACE, created_ms=now_ms, expires_ms=ends_ms, **flag))

    def set_policy(self, **policy: Any) -> None:
        held = GuardrailPolicy(**policy)
        self.control.put(Policy(id=WORKSPACE, workspace=WORKSPACE, created_ms=0, policy=held))


@asynccontextmanager
async def edge_surface(home: Path, **environment: str) -> AsyncIterator[EdgeSurface]:
    """In front of a stub that stands for every provider."""
    control, verdicts = EdgeControl(), LocalVerdicts("", max_waiters=20_000)
    verdicts.start()
    log = EdgeLog(verdicts)
    control.put(
        Key(
            id=KEY_ID,
            workspace=WORKSPACE,
            created_ms=0,
            environment="live",
            key_kind=KeyKind.ORG,
            name="edge",
            token_hash=TokenHasher(MASTER_KEY).hash(TOKEN),
        )
    )
    async with provider_stub() as stub:
        services = _services(_settings(home, stub, environment), log, control, verdicts)
        runner = await serve(BURN.make_app(services), "127.0.0.1", 0, surface="burn", render=BURN.render)
        try:
            async with aiohttp.ClientSession() as client:
                yield EdgeSurface(f"http://127.0.0.1:{runner.port}", client, stub, log, control, home)
        finally:
            await runner.cleanup()


def _services(settings: Settings, log: EdgeLog, control: EdgeControl, verdicts: LocalVerdicts) -> Services:
    reader = cast(ControlReader, control)
    hasher = TokenHasher(MASTER_KEY)
    return Services(
        settings=settings,
        events=cast(EventLog, log),
        verdicts=verdicts,
        live=LiveLog("127.0.0.1:1"),
        commands=cast(Any, Away()),
        control=reader,
        authenticate=Authenticator(reader, hasher, **BURN.takes),
        reads=cast(Any, Away()),
        signer=GatewaySigner(MASTER_KEY),
        cursors=Cursors(MASTER_KEY),
        position_tokens=EncryptedTokens(MASTER_KEY, POSITION_TOKENS),
    )


def _settings(home: Path, stub: ProviderStub, environment: dict[str, str]) -> Settings:
    bases = {
        **{"openai": f"{stub.url}/v1", "anthropic": f"{stub.url}/v1", "gemini": f"{stub.url}/v1beta"},
        **{"openrouter": f"{stub.url}/api/v1", "groq": f"{stub.url}/openai/v1"},
    }
    written = ", ".join(f'"{name}": "{url}"' for name, url in bases.items())
    env = {"ATLAS_HOME": str(home), "ATLAS_MASTER_KEY": MASTER_KEY.hex(), "ATLAS_EDGE_PROVIDERS": f"{{{written}}}"}
    return Settings.from_env({**env, "ATLAS_APPEND_TIMEOUT_SECONDS": "5", **environment})


def _members(verdict: Verdict) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in verdict.__struct_fields__}
