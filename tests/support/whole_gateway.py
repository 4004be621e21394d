"""All surfaces of one gateway in this process, on their real HTTP servers, with a log in memory behind them.

What is in memory is the broker alone. What is appended is decided at once by the agents' own functions (admission, the
control agent, the guardrails), what they write is put into a read model of SQLite by projection's own. So whatever one
tenant does shows at once wherever it is shown at all.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp

from domain.commands.decide import decide as decide_command
from domain.commands.decide import token_hash_by
from domain.control.state import ControlState
from domain.control.values import CommandRequest, TopicTask
from domain.events.system_events import signed_record
from domain.guardrails.decide import decide as decide_telemetry
from domain.guardrails.state import GuardState
from domain.guardrails.values import GuardRequest
from domain.limits.quotas import RATE_CLASSES, Quota
from domain.security.callers import CallerContext
from domain.security.encrypted_tokens import EncryptedTokens
from domain.security.gateway_signatures import GatewaySigner
from domain.tables import MemoryTable
from ingest_gateway.http.server import serve
from ingest_gateway.identity.authentication import Authenticator
from ingest_gateway.identity.session_keys import SharedSecret
from ingest_gateway.identity.sessions import Sessions
from ingest_gateway.limits.enforcement import RateLimits, limiter_of
from ingest_gateway.log.commands import CommandClient
from ingest_gateway.log.event_log import Appended, EventLog
from ingest_gateway.log.live import LiveLog
from ingest_gateway.read_model import ReadModel
from ingest_gateway.read_model.cursors import Cursors
from ingest_gateway.services import POSITION_TOKENS, Services
from ingest_gateway.surfaces.served import ALL
from ingest_gateway.surfaces.surface import Surface
from operations.control_reader import ControlReader
from operations.new_commands import new_command
from operations.random_ids import short_id
from operations.read_model_engine import writer_engine
from operations.settings import Settings
from processors.control.topics import finished, report_of
from processors.projection.decide import project
from processors.projection.store import Store
from schemas.commands import command_key, decode_payload
from schemas.commands.workspaces import CreateWorkspace
from schemas.entities import KeyKind
from schemas.ids import WORKSPACE
from schemas.records import Command, Telemetry
from schemas.replies import REPLY_HEADER, ReplyTo, decode_reply
from schemas.telemetry import decode_payload as decode_telemetry
from schemas.topics import Topic
from tests.support.access import (
    AUDIENCE,
    DEAD_PROVIDERS,
    HASHER,
    ISSUER,
    MASTER_KEY,
    SESSION_SECRET,
    Contract,
    a_key,
    a_session,
)
from tests.support.answers import Answer
from tests.support.events_surface import AppendedRecord, LocalControl, LocalVerdicts
from tests.support.log_records import ProjectionInput
from tests.support.spine_surface import SpineLog, empty_read_model

KINDS = {
    "events": KeyKind.SECRET,
    "work": KeyKind.ACCESS_TOKEN,
    "spine": KeyKind.SPINE,
    "burn": KeyKind.ORG,
}


class WholeLog(SpineLog):
    """Every topic. A record is decided in the loop's next turn, what its decision causes with it."""

    def __init__(self, control: LocalControl, verdicts: LocalVerdicts, store: Store) -> None:
        super().__init__(control, verdicts, store)
        self._control = control
        self._store = store
        self._state = ControlState(MemoryTable())
        self._token_hash = token_hash_by(MASTER_KEY)
        self._signer = GatewaySigner(MASTER_KEY)
        self._guard_tables = MemoryTable(), MemoryTable(), MemoryTable()
        self._projected: dict[Topic, int] = {}
        self.told: list[tuple[Topic, bytes]] = []
        """Keys and values of the records that agents wrote."""

    async def ends(self, topic: str) -> list[tuple[str, int, int]]:
        return []  # nothing is ever under way

    def everything(self) -> list[tuple[str, bytes]]:
        """Topic and bytes of every record that there is."""
        appended = [(one.appended.topic, one.key + one.value + b"".join(one.headers.values())) for one in self.records]
        return appended + [(str(topic), content) for topic, content in self.told]

    def _settle(self, record: AppendedRecord, future: asyncio.Future[Appended]) -> None:
        if record.appended.topic == Topic.COMMANDS:
            future.set_result(record.appended)
            self._decide(record)
        elif record.appended.topic == Topic.BURN_TELEMETRY:
            future.set_result(record.appended)
            self._guard(record)
        else:
            super()._settle(record, future)

    def _decide(self, record: AppendedRecord) -> None:
        command, place = Command.decode(record.value), record.appended
        reply = decode_reply(record.headers.get(REPLY_HEADER))
        asked = CommandRequest(command, decode_payload(command), place.timestamp_ms, place.offset, reply)
        effects = decide_command(self._state, asked, self._token_hash)
        for key, state in self._state.apply(effects):
            self._control.view.apply(key, state)
            self.project(Topic.CONTROL, state, key)
        for key, item in self._state.apply_items(effects.changes):
            self.project(Topic.ITEMS, item, key)
        if effects.audit is not None:
            self.project(Topic.AUDIT, effects.audit.encode())
        for _, verdict in effects.verdicts:
            self._verdicts.deliver(verdict)
        for happened in effects.changes.events:
            signed = signed_record(happened, self._signer)
            self.append(signed.topic, signed.key, signed.value, signed.headers)
        for work in effects.changes.started:
            if work.task is TopicTask.CREATE:
                self._submit(report_of(work, finished(work, topic_id="topic-id")))

    def _guard(self, record: AppendedRecord) -> None:
        telemetry, place = Telemetry.decode(record.value), record.appended
        reply = decode_reply(record.headers.get(REPLY_HEADER))
        state = GuardState(*self._guard_tables)
        asked = GuardRequest(telemetry, decode_telemetry(telemetry), place.timestamp_ms, place.offset, reply)
        effects = decide_telemetry(state, asked)
        state.save()
        self.project(Topic.BURN_TELEMETRY, record.value)
        for audit in effects.audits:
            self.project(Topic.AUDIT, audit.encode())
        for index, command in enumerate(effects.commands, 1):
            self._submit(command, reply if index == len(effects.commands) else None)
        if effects.verdict is not None:
            self._verdicts.deliver(effects.verdict[1])

    def _submit(self, command: Command, reply: ReplyTo | None = None) -> None:
        headers = [] if reply is None else [(REPLY_HEADER, reply.encode())]
        self.append(Topic.COMMANDS, command_key(command), command.encode(), headers)

    def project(self, topic: Topic, value: bytes | None, key: bytes | None = None) -> None:
        offset = self._projected.get(topic, 0)
        self._projected[topic] = offset + 1
        self.told.append((topic, (key or b"") + b" " + (value or b"")))
        self._store.apply([project([ProjectionInput(topic, 0, offset, value, key)])])


class Present(ReadModel):
    """It has everything as soon as it is decided."""

    async def wait_until_passed(self, *_question: object) -> bool:
        return True


@dataclass
class Tenant:
    """`tokens`: its key by surface; `session` is a person's."""

    workspace: str
    tokens: dict[str, str]
    session: str


@dataclass
class WholeGateway:
    """`other` has nothing but its keys when a test begins; nor has `one`."""

    contracts: dict[str, Contract]
    urls: dict[str, str]
    client: aiohttp.ClientSession
    log: WholeLog
    control: LocalControl
    one: Tenant
    other: Tenant

    async def ask(
        self, tenant: Tenant, surface: str, method: str, path: str, body: object = None, **headers: str
    ) -> Answer:
        """`path`: with its query; `headers` with `_` for `-`. A session asks where a key may not."""
        contract = self.contracts[surface]
        is_for_sessions = surface == "work" and path.startswith("/v1/tokens")
        token = tenant.session if is_for_sessions else tenant.tokens[surface]
        name, _, value = contract.ways[0].presented(token).partition(": ")
        sent = {name: value} | {header.replace("_", "-"): one for header, one in headers.items()}
        async with self.client.request(method, self.urls[surface] + path, json=body, headers=sent) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def made(self, tenant: Tenant, surface: str, path: str, body: object, **headers: str) -> Any:
        """The body of a POST's answer, which is a good one."""
        answer = await self.ask(tenant, surface, "POST", path, body, **headers)
        assert answer.status in (200, 201, 202), (path, answer.body)
        return answer.json


ROOMY = {"*": {name: Quota(100_000, 100_000) for name in RATE_CLASSES}}


@asynccontextmanager
async def whole_gateway(
    home: Path, workspaces: tuple[str, str] | None = None, **environment: str
) -> AsyncIterator[WholeGateway]:
    """`workspaces`: ids of the two tenants, else new ones. `environment`: further settings."""
    control, verdicts = LocalControl(), LocalVerdicts("", max_waiters=1_000)
    verdicts.start()
    database = home / "read-model.sqlite"
    database.write_bytes(empty_read_model())
    url = f"sqlite:///{database}"
    async with AsyncExitStack() as stack:
        store = Store(writer_engine(url))
        stack.callback(store.close)
        store.prepare()
        reads = Present(url)
        stack.push_async_callback(reads.close)
        log = WholeLog(control, verdicts, store)
        events = cast(EventLog, log)
        env = {
            "ATLAS_HOME": str(home),
            "ATLAS_MASTER_KEY": MASTER_KEY.hex(),
            "ATLAS_EDGE_PROVIDERS": DEAD_PROVIDERS,
        }
        settings = Settings.from_env(env | environment)
        services = Services(
            settings=settings,
            events=events,
            verdicts=verdicts,
            live=LiveLog("127.0.0.1:1"),
            commands=CommandClient(events, verdicts, timeout_seconds=30),
            control=cast(ControlReader, control),
            authenticate=cast(Authenticator, None),
            reads=reads,
            signer=GatewaySigner(MASTER_KEY),
            cursors=Cursors(MASTER_KEY),
            position_tokens=EncryptedTokens(MASTER_KEY, POSITION_TOKENS),
            limits=RateLimits(limiter_of(control.view, ROOMY, "gateway")),
        )
        urls = {surface.name: await _serve(stack, surface, services) for surface in ALL}
        client = await stack.enter_async_context(aiohttp.ClientSession())
        contracts = {surface.name: Contract(surface.name) for surface in ALL}
        ids = workspaces or (short_id(WORKSPACE), short_id(WORKSPACE))
        tenants = [await _tenant(control, services, *of) for of in zip(("one", "other"), ids, strict=True)]
        yield WholeGateway(contracts, urls, client, log, control, *tenants)


async def _serve(stack: AsyncExitStack, surface: Surface, services: Services) -> str:
    sessions = Sessions(SharedSecret(SESSION_SECRET), issuer=ISSUER, audience=AUDIENCE)
    authenticate = Authenticator(services.control, HASHER, sessions=sessions, **surface.takes)
    app = surface.make_app(dataclasses.replace(services, authenticate=authenticate))
    runner = await serve(app, "127.0.0.1", 0, surface=surface.name, render=surface.render)
    stack.push_async_callback(runner.cleanup)
    return f"http://127.0.0.1:{runner.port}"


async def _tenant(control: LocalControl, services: Services, name: str, workspace: str) -> Tenant:
    payload = CreateWorkspace(name=name)
    command = new_command(
        payload, workspace=workspace, environment="live", caller=CallerContext("master-key"), now_ms=1
    )
    assert (await services.commands.submit(command)).status == 201
    tokens = {}
    for surface, kind in KINDS.items():
        key, tokens[surface] = a_key(f"{name}_{surface}", kind, workspace=workspace)
        control.put(key)
    return Tenant(workspace, tokens, a_session(workspace=workspace))
