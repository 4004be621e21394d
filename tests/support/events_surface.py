"""The events surface in one process, on its real HTTP server, with a log in memory that admission's own rules decide.

What is in memory: the log (`MemoryLog`), the reader of `control` and the reader of verdicts; everything else is what
the gateway runs. Tests hold the log back (`confirms`, `answers`) to see what a late broker or a late verdict means.
tests/pipeline shows the same surface on a real broker.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import aiohttp

from domain.entities.control_view import ControlView
from domain.events.rules import SURFACE
from domain.idempotency.events import Admitted, KeyEntry, KeyScope, decide
from domain.security.api_tokens import TokenHasher, mint_token
from domain.security.encrypted_tokens import EncryptedTokens
from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from ingest_gateway.http.server import serve
from ingest_gateway.identity.authentication import Authenticator
from ingest_gateway.limits.enforcement import RateLimits
from ingest_gateway.log.batches import BatchAppend
from ingest_gateway.log.event_log import Appended, EventLog, LogBusy, LogUnavailable, StorageUnknown
from ingest_gateway.log.live import LiveLog
from ingest_gateway.log.stream_ends import Range, StreamEnd
from ingest_gateway.log.verdicts import VerdictWaiter
from ingest_gateway.read_model import ReadModelUnavailable
from ingest_gateway.read_model.cursors import Cursors
from ingest_gateway.services import POSITION_TOKENS, Services
from ingest_gateway.surfaces.events.app import make_app
from ingest_gateway.surfaces.events.errors import render
from operations.control_reader import ControlReader
from operations.settings import Settings
from operations.topic_ends import Partition
from schemas.codec import EVENT
from schemas.entities import Key, KeyKind, State, Stream, StreamStatus
from schemas.log_records import SourceRecord
from schemas.partitioner import partition_for
from schemas.records import Command, Verdict
from schemas.replies import REPLY_HEADER, decode_reply
from schemas.topics import parse_stream_topic, stream_topic

WORKSPACE = "ws_7Q2M9K4X1B"
MASTER_KEY = bytes(range(32))
PARTITIONS = 8
APPENDED_MS = 1_716_042_131_482  # 2024-05-18T14:22:11.482Z: the first record's append time
ROUTES = ["wf_billing", "wf_search"]
JSON = "application/json"
LimitsOf = Callable[[ControlView], RateLimits]


class AppendedRecord(NamedTuple):
    appended: Appended
    key: bytes
    value: bytes
    headers: dict[str, bytes]


class LocalVerdicts(VerdictWaiter):
    """The gateway's waiter, told its verdicts in memory."""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    def deliver(self, verdict: Verdict) -> None:
        self._deliver([verdict])


class LocalControl:
    """The view of `control`; what is staged there becomes visible by reading on."""

    def __init__(self) -> None:
        self.view = ControlView()
        self.ready = True
        self.staged: list[State] = []
        self.catch_ups = 0
        self.behind_seconds = 0.0

    def put(self, state: State) -> None:
        entity = state.to_entity()
        self.view.apply(entity.key, entity.encode())

    async def catch_up(self, timeout_seconds: float = 0.5) -> bool:
        self.catch_ups += 1
        while self.staged:
            self.put(self.staged.pop())
        return True


class AdmissionRules:
    """Admission's own decisions over a table in memory."""

    def __init__(self, view: ControlView) -> None:
        self._view = view
        self._signer = GatewaySigner(MASTER_KEY)
        self._seen: dict[bytes, KeyEntry] = {}

    def decide(self, appended: Appended, value: bytes, headers: Mapping[str, bytes]) -> tuple[Verdict, int] | None:
        """The verdict and its partition; None for a record that nobody waits for, which is decided all the same."""
        digest = self._signer.verified_hash(appended.topic, headers[GATEWAY_SIGNATURE], value)
        place = parse_stream_topic(appended.topic)
        assert digest is not None and place is not None, "the signature is the gateway's"
        event = EVENT.decode(value)
        scope = KeyScope(place.workspace, place.environment, SURFACE)
        key = scope.table_key(event["idempotency_key"], event["id"])
        source = SourceRecord(appended.topic, "topic-id", appended.partition, appended.offset)
        routes = self._view.streams_by_topic[appended.topic].default_routes
        decided = decide(self._seen.get(key), KeyEntry(event["id"], digest, appended.timestamp_ms, routes, source))
        outcome, entry = decided.outcome, decided.entry
        if isinstance(decided, Admitted):
            self._seen[key] = entry
        reply = decode_reply(headers.get(REPLY_HEADER))
        if reply is None:
            return None
        verdict = Verdict(
            correlation=reply.correlation,
            outcome=outcome,
            event_id=entry.event_id,
            received_ms=entry.received_ms,
            routes=entry.routes,
        )
        return verdict, reply.partition


class StoredMessage:
    """What a delivery report says of a record that is stored; None: that no broker said where."""

    def __init__(self, stored: Appended | None) -> None:
        self._stored = stored

    def partition(self) -> int:
        return 0 if self._stored is None else self._stored.partition

    def offset(self) -> int | None:
        return None if self._stored is None else self._stored.offset

    def timestamp(self) -> tuple[int, int]:
        return 2, 0 if self._stored is None else self._stored.timestamp_ms


def _report(on_delivery: Callable[[None, StoredMessage], None], done: asyncio.Future[Appended]) -> None:
    on_delivery(None, StoredMessage(None if done.exception() else done.result()))


def _end(batch: BatchAppend) -> None:
    batch.read_reports()
    batch.end()


class MemoryLog:
    """`EventLog` and admission in memory. Records are confirmed and decided in the loop's next turn, unless held.
    tests/contract/events/test_log.py holds it to what the real one does.
    """

    def __init__(self, control: LocalControl, verdicts: LocalVerdicts, *, decides: bool = True) -> None:
        """`decides`: whether there is admission behind it."""
        self._decides = decides
        self._newest: dict[str, dict[tuple[str, int], int]] = {}
        self.records: list[AppendedRecord] = []
        self.appended = asyncio.Event()
        self.first_ms = APPENDED_MS
        self.confirms = True
        self.answers = True
        self.says_where = True
        self.refuses: Exception | None = None
        self.failed: str | None = None
        self.unreachable: str | None = None
        self.room = 100_000
        self._rules = AdmissionRules(control.view)
        self._verdicts = verdicts
        self._offsets: dict[tuple[str, int], int] = {}
        self._undelivered: list[Verdict] = []

    def newest(self, workspace: str, environment: str) -> list[tuple[str, int, int]]:
        scope = self._newest.get(f"events.{workspace}.{environment}", {})
        return [(topic, partition, offset) for (topic, partition), offset in scope.items()]

    async def ends(self, topic: str) -> list[tuple[str, int, int]]:
        raise LogUnavailable("no log of that topic")

    async def stream_ends(self, partitions: Collection[Partition]) -> dict[Partition, StreamEnd]:
        return {}  # nothing is under way that a read could wait for

    async def with_records(self, ranges: Mapping[Partition, Range]) -> set[Partition]:
        return set()

    def append(
        self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]], *, may_repeat: bool = False
    ) -> asyncio.Future[Appended]:
        if self.refuses is not None:
            raise self.refuses
        if self.room <= 0:
            raise LogBusy("full")
        self.room -= 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Appended] = loop.create_future()
        partition = partition_for(key, PARTITIONS)
        offset = self._offsets.get((topic, partition), 0)
        self._offsets[topic, partition] = offset + 1
        appended = Appended(topic, partition, offset, self.first_ms + len(self.records))
        self.records.append(AppendedRecord(appended, key, value, dict(headers)))
        self.appended.set()
        loop.call_soon(self._settle, self.records[-1], future)
        return future

    def append_all(
        self,
        topic: str,
        keys: Sequence[bytes],
        values: Sequence[bytes],
        headers: Sequence[list[tuple[str, bytes]]],
    ) -> BatchAppend:
        if isinstance(self.refuses, LogUnavailable):
            raise self.refuses

        def produce(topic: str, value: bytes, key: bytes, *, on_delivery: Any, headers: Any) -> None:
            self.append(topic, key, value, headers).add_done_callback(partial(_report, on_delivery))

        batch = BatchAppend(topic, keys, values, headers, produce, _end, BatchAppend.read_reports)
        for number in range(batch.records):
            try:
                batch.send(number)
            except LogBusy as refusal:
                batch.refuse_from(number, refusal)
                break
        if not batch.queued:
            batch.end()
        return batch

    def has_room(self, records: int) -> bool:
        return records <= self.room

    def deliver(self) -> None:
        """The verdicts that were held back."""
        while self._undelivered:
            self._verdicts.deliver(self._undelivered.pop(0))

    def _settle(self, record: AppendedRecord, future: asyncio.Future[Appended]) -> None:
        stored = record.appended
        if self.confirms:
            scope = self._newest.setdefault(stored.topic.rpartition(".")[0], {})
            scope[stored.topic, stored.partition] = stored.offset
        if self.confirms and not future.done():
            if self.says_where:
                future.set_result(stored)
            else:
                future.set_exception(StorageUnknown("nobody says where"))
        if not self._decides:
            return
        answer = self._rules.decide(record.appended, record.value, record.headers)
        if answer is not None:
            self._undelivered.append(answer[0])
        if self.answers:
            self.deliver()


@dataclass
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def fields(self) -> list[str]:
        """The fields that an error names."""
        return [error["field"] for error in self.json["error"]["details"]["errors"]]


@dataclass
class Surface:
    """The running surface. Keys: `live`, `test`, `publishable`, `one_stream`, `revoked`."""

    url: str
    session: aiohttp.ClientSession
    log: MemoryLog
    control: LocalControl
    verdicts: LocalVerdicts
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
        stream = None if body is None else io.BytesIO(body)  # as aiohttp wants large bodies
        async with self.session.request(method, self.url + path, data=stream, headers=sent) as response:
            return Answer(response.status, await response.read(), response.headers)

    async def publish(self, body: bytes, idempotency_key: str | None = None, **more: Any) -> Answer:
        if idempotency_key is not None:
            more["Idempotency_Key"] = idempotency_key
        return await self.request("POST", "/v1/events", body, **more)

    async def publish_batch(self, body: bytes, **more: Any) -> Answer:
        return await self.request("POST", "/v1/events/batch", body, **more)

    async def publish_lines(self, body: bytes, **more: Any) -> Answer:
        return await self.publish_batch(body, Content_Type="application/x-ndjson", **more)

    def add_key(self, name: str, *, scopes: set[str]) -> None:
        """A live secret key with these scopes alone."""
        self.tokens[name] = _put_key(self.control, name, scopes=sorted(scopes))

    def events(self) -> list[dict[str, Any]]:
        """What stands on the log, in the order it came."""
        return [EVENT.decode(record.value) for record in self.log.records]


def a_stream(name: str = "orders-prod", environment: str = "live", **changes: Any) -> Stream:
    values = {
        "id": f"stm_{environment}_{name}",
        "workspace": WORKSPACE,
        "created_ms": 0,
        "environment": environment,
        "name": name,
        "default_routes": ROUTES,
        "status": StreamStatus.ACTIVE,
        "topic": stream_topic(WORKSPACE, environment, name),
        "topic_id": "topic-id",
    }
    return Stream(**{**values, **changes})


@asynccontextmanager
async def events_surface(home: Path, *, limits: LimitsOf | None = None, **timeouts: float) -> AsyncIterator[Surface]:
    """`timeouts`: `append_timeout_seconds`, `verdict_timeout_seconds`; both are long unless a test is about them.
    `limits`: made of the view; without, requests are not counted.
    """
    control = LocalControl()
    verdicts = LocalVerdicts("", max_waiters=20_000)
    verdicts.start()
    log = MemoryLog(control, verdicts)
    services = services_on(home, control, cast(EventLog, log), verdicts, **timeouts)
    services.limits = None if limits is None else limits(control.view)
    for stream in (a_stream(), a_stream("audit-prod"), a_stream(environment="test")):
        control.put(stream)
    async with serving(services) as (url, session):
        yield Surface(url, session, log, control, verdicts, put_keys(control))


def services_on(
    home: Path, control: LocalControl, log: EventLog, verdicts: VerdictWaiter, **timeouts: float
) -> Services:
    return Services(
        settings=_settings(home, **timeouts),
        events=log,
        verdicts=verdicts,
        live=LiveLog("127.0.0.1:1"),
        commands=cast(Any, Away()),
        control=cast(ControlReader, control),
        authenticate=Authenticator(cast(ControlReader, control), TokenHasher(MASTER_KEY)),
        reads=cast(Any, Away()),
        signer=GatewaySigner(MASTER_KEY),
        cursors=Cursors(MASTER_KEY),
        position_tokens=EncryptedTokens(MASTER_KEY, POSITION_TOKENS),
    )


@asynccontextmanager
async def serving(services: Services) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """The surface's address, and a client."""
    runner = await serve(make_app(services), "127.0.0.1", 0, surface="events", render=render)
    try:
        async with aiohttp.ClientSession() as session:
            yield f"http://127.0.0.1:{runner.port}", session
    finally:
        await runner.cleanup()


def _settings(home: Path, **timeouts: float) -> Settings:
    env = {"ATLAS_HOME": str(home), "ATLAS_MASTER_KEY": MASTER_KEY.hex()}
    for name, seconds in {"append_timeout_seconds": 60.0, "verdict_timeout_seconds": 60.0, **timeouts}.items():
        env[f"ATLAS_{name.upper()}"] = str(seconds)
    return Settings.from_env(env)


def put_keys(control: LocalControl) -> dict[str, str]:
    """(name, environment, kind, streams, revoked) → a token by name."""
    rows = [
        ("live", "live", KeyKind.SECRET, [], None),
        ("test", "test", KeyKind.SECRET, [], None),
        ("publishable", "live", KeyKind.PUBLISHABLE, ["orders-prod"], None),
        ("one_stream", "live", KeyKind.SECRET, ["audit-prod"], None),
        ("revoked", "live", KeyKind.SECRET, [], 1),
    ]
    tokens = {
        name: _put_key(control, name, environment, kind, streams=streams, revoked_ms=revoked_ms)
        for name, environment, kind, streams, revoked_ms in rows
    }
    return tokens | {"unknown": mint_token(MASTER_KEY, KeyKind.SECRET, "live", "key_unknown")}


def _put_key(
    control: LocalControl, name: str, environment: str = "live", kind: KeyKind = KeyKind.SECRET, **more: Any
) -> str:
    """Its token."""
    token = mint_token(MASTER_KEY, kind, environment, f"key_{name}")
    key = Key(
        id=f"key_{name}",
        workspace=WORKSPACE,
        created_ms=0,
        environment=environment,
        key_kind=kind,
        name=name,
        token_hash=TokenHasher(MASTER_KEY).hash(token),
        **more,
    )
    control.put(key)
    return token


class Away:
    """Commands and reads where a test has no use for them: what they need is away."""

    async def submit(self, command: Command, **_options: object) -> Verdict:
        raise UNAVAILABLE

    async def event(self, workspace: str, environment: str, event_id: str) -> None:
        raise ReadModelUnavailable("no read model")

    async def events_page(self, *_question: object) -> None:
        raise ReadModelUnavailable("no read model")

    async def wait_until_passed(self, *_positions: object) -> bool:
        return False


UNAVAILABLE = LogUnavailable("the broker is away")
