"""The spine's surface in one process, on its real HTTP server, with a log in memory.

What is in memory is the broker alone: records are decided by admission's own functions, decisions written by
projection's own into SQLite, commands decided by the control agent's own. tests/pipeline/spine has the real thing.
"""

import dataclasses
import io
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import aiohttp

from domain.admission.effects import effects_of
from domain.admission.encoding import stream_partition
from domain.admission.reading import read
from domain.admission.subscribers import routes_of, type_of
from domain.commands.decide import decide as decide_command
from domain.commands.decide import token_hash_by
from domain.control.state import ControlState
from domain.control.values import CommandEffects, CommandRequest, TopicTask
from domain.entities.control_view import ControlView
from domain.entities.organizations import org_of
from domain.idempotency.events import Admitted, KeyEntry, decide
from domain.security.api_tokens import TokenHasher, mint_token
from domain.security.callers import CallerContext
from domain.security.gateway_signatures import GatewaySigner
from domain.tables import MemoryTable
from ingest_gateway.http.server import serve
from ingest_gateway.identity.authentication import Authenticator
from ingest_gateway.log.event_log import Appended, EventLog, LogUnavailable
from ingest_gateway.read_model import ReadModel
from ingest_gateway.surfaces.spine.app import SPINE
from operations import clock
from operations.control_reader import ControlReader
from operations.new_commands import new_command
from operations.read_model_engine import writer_engine
from operations.record_reader import StoredRecord
from processors.admission.agent import _decode_seen, _encode_seen
from processors.control.topics import finished, report_of
from processors.projection.decide import project
from processors.projection.store import Store
from schemas.commands import decode_payload
from schemas.commands.workspaces import CreateWorkspace
from schemas.entities import Key, KeyKind
from schemas.log_records import LogRecord, SourceRecord
from schemas.records import Command, Delivery, Verdict
from schemas.replies import ReplyTo
from schemas.topics import Topic, parse_stream_topic
from tests.support.events_surface import (
    JSON,
    MASTER_KEY,
    WORKSPACE,
    Answer,
    LimitsOf,
    LocalControl,
    LocalVerdicts,
    MemoryLog,
    services_on,
)

ORG = org_of(WORKSPACE)


class SpineRules:
    """Admission, then projection, of one record."""

    def __init__(self, view: ControlView, store: Store) -> None:
        self.deliveries: list[Delivery] = []
        self._view = view
        self._store = store
        self._signer = GatewaySigner(MASTER_KEY)
        self._seen: dict[bytes, bytes] = {}
        self._decisions: dict[int, int] = {}

    def decide(self, appended: Appended, value: bytes, headers: Mapping[str, bytes]) -> tuple[Verdict, int] | None:
        topic = parse_stream_topic(appended.topic)
        assert topic is not None
        record = LogRecord(
            appended.topic,
            appended.partition,
            appended.offset,
            appended.timestamp_ms,
            None,
            value,
            list(headers.items()),
        )
        stream = self._view.streams_by_topic[appended.topic]
        partition = stream_partition(topic, stream, appended.partition)
        found = read(record, topic, self._signer)
        pieces = found.pieces
        key = partition.scope.table_key(pieces.idempotency_key, pieces.event_id)
        stored = self._seen.get(key)
        source = SourceRecord(appended.topic, stream.topic_id, appended.partition, appended.offset)
        routes = routes_of(self._view, stream, type_of(pieces))
        candidate = KeyEntry(pieces.event_id, found.payload_hash, appended.timestamp_ms, routes, source)
        decided = decide(None if stored is None else _decode_seen(stored), candidate)
        if isinstance(decided, Admitted) and decided.is_new:
            self._seen[key] = _encode_seen(decided.entry)
        effects = effects_of(decided, partition, record, found)
        self.deliveries += [Delivery.decode(message["value"]) for message in effects.deliveries or ()]
        self._project(appended.partition, effects.decision)
        if effects.verdict is None:
            return None
        return Verdict.decode(effects.verdict[1]), effects.verdict[0]

    def _project(self, partition: int, decision: bytes) -> None:
        offset = self._decisions.get(partition, 0)
        self._decisions[partition] = offset + 1
        self._store.apply([project([LogRecord(Topic.DECISIONS, partition, offset, 0, None, decision, ())])])


class SpineLog(MemoryLog):
    def __init__(self, control: LocalControl, verdicts: LocalVerdicts, store: Store) -> None:
        super().__init__(control, verdicts)
        self.rules = SpineRules(control.view, store)
        self._rules = cast(Any, self.rules)
        self.first_ms = clock.now_ms()

    async def read_many(self, positions: Collection[Any], timeout_seconds: float) -> dict[Any, StoredRecord | None]:
        if self.refuses is not None:
            raise LogUnavailable("the broker is away")
        values = {
            (one.appended.topic, one.appended.partition, one.appended.offset): StoredRecord(one.value)
            for one in self.records
        }
        return {position: values.get(position) for position in positions}


class LocalCommands:
    """The control agent's decisions over a table in memory; a stream's topic is there at once."""

    def __init__(self, control: LocalControl) -> None:
        self._control = control
        self._state = ControlState(MemoryTable())
        self._token_hash = token_hash_by(MASTER_KEY)
        self._offset = 0
        self.commands: list[Command] = []
        self.refuses: Exception | None = None

    async def submit(self, command: Command, **_options: object) -> Verdict:
        if self.refuses is not None:
            raise self.refuses
        self.commands.append(command)
        effects = self._decide(command)
        created = [work for work in effects.changes.started if work.task is TopicTask.CREATE]
        for work in created:
            effects = self._decide(report_of(work, finished(work, topic_id="topic-id")), reply=False)
        return effects.verdicts[-1][1]

    def _decide(self, command: Command, reply: bool = True) -> CommandEffects:
        self._offset += 1
        to = ReplyTo(0, self._offset.to_bytes(16, "big")) if reply else None
        asked = CommandRequest(command, decode_payload(command), 1_716_042_131_000 + self._offset, self._offset, to)
        effects = decide_command(self._state, asked, self._token_hash)
        for key, value in self._state.apply(effects):
            self._control.view.apply(key, value)
        return effects


@dataclass
class SpineSurface:
    """Keys: `live`, `test` (whole), `reader`, `publisher`, `admin` (one scope each), `other` (another org's)."""

    url: str
    session: aiohttp.ClientSession
    log: SpineLog
    control: LocalControl
    commands: LocalCommands
    store: Store
    tokens: dict[str, str] = field(default_factory=dict)

    async def request(
        self, method: str, path: str, body: bytes | None = None, *, key: str | None = "live", **headers: str
    ) -> Answer:
        """`headers`: names with `_` for `-`. `key`: whose token; None: no Authorization."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent.setdefault("Content-Type", JSON)
        if key is not None:
            sent["Authorization"] = f"Bearer {self.tokens[key]}"
        stream = None if body is None else io.BytesIO(body)
        async with self.session.request(method, self.url + path, data=stream, headers=sent) as response:
            return Answer(response.status, await response.read(), response.headers)

    async def publish(self, body: bytes, **more: Any) -> Answer:
        return await self.request("POST", "/v1/events", body, **more)

    @property
    def deliveries(self) -> list[Delivery]:
        return self.log.rules.deliveries


@asynccontextmanager
async def spine_surface(
    home: Path,
    *,
    limits: LimitsOf | None = None,
    allow_private: bool = False,
    catalog: str = "open",
    **timeouts: float,
) -> AsyncIterator[SpineSurface]:
    """As `events_surface`."""
    control = LocalControl()
    verdicts = LocalVerdicts("", max_waiters=20_000)
    verdicts.start()
    database = home / "read-model.sqlite"
    database.write_bytes(empty_read_model())
    database_url = f"sqlite:///{database}"
    store = Store(writer_engine(database_url))
    store.prepare()
    log = SpineLog(control, verdicts, store)
    commands = LocalCommands(control)
    services = services_on(home, control, cast(EventLog, log), verdicts, **timeouts)
    services.commands = cast(Any, commands)
    services.reads = ReadModel(database_url)
    services.limits = None if limits is None else limits(control.view)
    services.authenticate = Authenticator(cast(ControlReader, control), TokenHasher(MASTER_KEY), **SPINE.takes)
    settings = services.settings
    services.settings = dataclasses.replace(settings, allow_private_targets=allow_private, catalog=catalog)
    for workspace in (WORKSPACE, OTHER_WORKSPACE):
        await commands.submit(_workspace(workspace))
    runner = await serve(SPINE.make_app(services), "127.0.0.1", 0, surface="spine", render=SPINE.render)
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{runner.port}"
            yield SpineSurface(url, session, log, control, commands, store, _keys(control))
    finally:
        await runner.cleanup()
        await services.reads.close()
        store.close()


OTHER_WORKSPACE = "ws_OTHER0001X"


@lru_cache(maxsize=1)
def empty_read_model() -> bytes:
    """Made once a process: bringing a database to the present version takes as long as many tests."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.sqlite"
        store = Store(writer_engine(f"sqlite:///{made}"))
        store.prepare()
        store.close()
        return made.read_bytes()


def _workspace(workspace: str) -> Command:
    payload = CreateWorkspace(name="Acme")
    return new_command(payload, workspace=workspace, environment="live", caller=CallerContext("master-key"), now_ms=1)


def _keys(control: LocalControl) -> dict[str, str]:
    rows = [
        ("live", "live", KeyKind.SPINE, WORKSPACE, []),
        ("test", "test", KeyKind.SPINE, WORKSPACE, []),
        ("reader", "live", KeyKind.SPINE, WORKSPACE, ["events:read"]),
        ("publisher", "live", KeyKind.SPINE, WORKSPACE, ["events:write"]),
        ("admin", "live", KeyKind.SPINE, WORKSPACE, ["admin"]),
        ("other", "live", KeyKind.SPINE, OTHER_WORKSPACE, []),
        ("events", "live", KeyKind.SECRET, WORKSPACE, []),
    ]
    tokens = {}
    for name, environment, kind, workspace, scopes in rows:
        token = tokens[name] = mint_token(MASTER_KEY, kind, environment, f"key_{name}")
        key = Key(
            id=f"key_{name}",
            workspace=workspace,
            created_ms=0,
            environment=environment,
            key_kind=kind,
            name=name,
            token_hash=TokenHasher(MASTER_KEY).hash(token),
            scopes=scopes,
        )
        control.put(key)
    return tokens
