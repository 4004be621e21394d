"""Any of the gateway's surfaces as it stands to a stranger: on its real HTTP server, with nothing behind it.

The log, the control agent and the read model are away, so whoever is let in gets an answer of the operation itself that
is neither 401 nor 403 (mostly 503). What a surface takes (`Contract`) is read from its OpenAPI document.
"""

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

import jwt

from domain.limits.quotas import RATE_CLASSES, Quota
from domain.security.api_tokens import TokenHasher, mint_token
from domain.security.encrypted_tokens import EncryptedTokens
from domain.security.gateway_signatures import GatewaySigner
from domain.security.principals import SESSION
from ingest_gateway.http.server import serve
from ingest_gateway.identity.authentication import Authenticator, SharedCatchUp
from ingest_gateway.identity.failures import FailedAttempts
from ingest_gateway.identity.session_keys import SharedSecret
from ingest_gateway.identity.sessions import Sessions
from ingest_gateway.limits.enforcement import RateLimits, limiter_of
from ingest_gateway.log.event_log import EventLog
from ingest_gateway.log.live import LiveLog
from ingest_gateway.read_model import ReadModelUnavailable
from ingest_gateway.read_model.cursors import Cursors
from ingest_gateway.services import POSITION_TOKENS, Services
from ingest_gateway.surfaces.documents.operations import resolved
from ingest_gateway.surfaces.shared.contract import load_document, operations_of
from ingest_gateway.surfaces.surface import Surface
from operations.control_reader import ControlReader
from operations.settings import Settings
from schemas.entities import Key, KeyKind, Workspace
from tests.contract.http.wire import Answer, Wire, request
from tests.support.events_surface import UNAVAILABLE, Away, LocalControl, LocalVerdicts, MemoryLog

WORKSPACE, OTHER_WORKSPACE = "ws_7Q2M9K4X1B", "ws_OTHER0001X"
MASTER_KEY = bytes(range(32))
HASHER = TokenHasher(MASTER_KEY)
ISSUER, AUDIENCE, SESSION_SECRET = "https://id.example.com", "atlas", b"0123456789abcdef" * 4
PROVIDERS = ("openai", "anthropic", "gemini", "openrouter", "groq")
DEAD_PROVIDERS = json.dumps(dict.fromkeys(PROVIDERS, "http://127.0.0.1:1/v1"))
IDS = {
    "stream": "orders-prod",
    "workflow": "wf_billing",
    "type": "invoice.paid",
    "project": "prj_01JV2X3Y4Z5A6B7C8D9E0F1G2H",
    "task": "tsk_01JV2X3Y4Z5A6B7C8D9E0F1G2H",
    "webhook": "whk_01JV2X3Y4Z5A6B7C8D9E0F1G2H",
    "event_id": "evt_01JVHQJ8WRD5X7K2M9P4T6V0BN",
    "key": "key_01JVHQJ8WRD5X7K2M9P4T6V0BN",
}


class DocumentedOperation:
    """One of a document. `kinds`: which credentials may do it, with the scopes that each may have at most."""

    def __init__(self, document: dict[str, Any], method: str, path: str, scopes: tuple[str, ...] | None) -> None:
        self.method, self.path = method, path
        self.scopes = frozenset(scopes or ())
        node = document["paths"][path][method.lower()]
        self.name = node["operationId"]
        self._document, self.node = document, node
        schemes = [name for one in node.get("security", document["security"]) for name in one]
        self.kinds = kinds_of(document, schemes)

    @property
    def parameters(self) -> list[dict[str, Any]]:
        return [resolved(self._document, parameter) for parameter in self.node.get("parameters", ())]

    def response(self, status: int) -> dict[str, Any]:
        """What the document says of an answer."""
        return resolved(self._document, self.node["responses"][str(status)])

    def __repr__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def target(self) -> str:
        """The path with ids in it, of things that may not be there."""
        return re.sub(r"\{(\w+)\}", lambda place: IDS.get(place[1], "unknown_01JVHQJ8WRD5X7K2M9P4T6V0BN"), self.path)


def kinds_of(document: dict[str, Any], schemes: list[str]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for name in schemes:
        for kind, scopes in document["components"]["securitySchemes"][name]["x-credentials"].items():
            found[kind] = found.get(kind, frozenset()) | frozenset(scopes)
    return found


class Way(NamedTuple):
    """How a credential is presented: in which header, behind what. `kinds`: those that some scheme takes so."""

    header: str
    prefix: str
    kinds: frozenset[str]

    def presented(self, token: str) -> str:
        """The header's line."""
        return self.line(self.prefix + token)

    def line(self, written: str) -> str:
        return f"{self.header}: {written}"


class Contract:
    """What a surface's document says of who may do what. `kinds`: over all of its schemes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.document = load_document(name)
        schemes = self.document["components"]["securitySchemes"]
        self.operations = [
            DocumentedOperation(self.document, method, path, operation.scopes)
            for (method, path), operation in operations_of(self.document).items()
        ]
        self.kinds = kinds_of(self.document, list(schemes))
        (environments,) = {frozenset(scheme["x-environments"]) for scheme in schemes.values()}
        self.environments = environments
        self.ways = ways_of(schemes)


def ways_of(schemes: dict[str, Any]) -> list[Way]:
    found: dict[tuple[str, str], frozenset[str]] = {}
    for scheme in schemes.values():
        way = (scheme["name"], "") if scheme["type"] == "apiKey" else ("Authorization", "Bearer ")
        found[way] = found.get(way, frozenset()) | scheme["x-credentials"].keys()
    return [Way(*way, kinds) for way, kinds in found.items()]


@dataclass
class Strange:
    """A running surface."""

    contract: Contract
    control: LocalControl
    port: int

    def ways_in(self, operation: DocumentedOperation, workspace: str) -> str:
        """The header's line of somebody of that workspace who may do the operation."""
        self.control.put(Workspace(id=workspace, workspace=workspace, created_ms=0, name="Test"))
        kind = next(iter(operation.kinds))
        if kind == SESSION:
            return self.contract.ways[0].presented(a_session(workspace=workspace))
        key, token = a_key(workspace, KeyKind(kind), workspace=workspace)
        self.control.put(key)
        return self.contract.ways[0].presented(token)

    async def ask(self, wire: Wire, method: str, target: str, *lines: str) -> Answer:
        """On a connection that is used for many."""
        if method not in ("GET", "HEAD"):
            lines = (*lines, "Content-Type: application/json", "Content-Length: 2")
        sent = request(method, target, *lines)
        await wire.send(sent if method in ("GET", "HEAD") else sent + b"{}")
        return await wire.answer()


class Nothing(Away):
    """Whatever the read model is asked, it is away."""

    def __getattr__(self, name: str) -> Any:
        async def ask(*_question: object) -> NoReturn:
            raise ReadModelUnavailable("no read model")

        return ask


@asynccontextmanager
async def strange(surface: Surface, home: Path, *, quota: Quota | None = None) -> AsyncIterator[Strange]:
    """`home`: a directory of its own. Providers of the edge proxy can't be reached. `quota`: of every class; without,
    requests are not counted.
    """
    services = services_of(surface, home)
    if quota is not None:
        quotas = {"*": dict.fromkeys(RATE_CLASSES, quota)}
        services.limits = RateLimits(limiter_of(services.control.view, quotas, "gateway"))
    services.verdicts.start()
    control = cast(LocalControl, services.control)
    for workspace in (WORKSPACE, OTHER_WORKSPACE):
        control.put(Workspace(id=workspace, workspace=workspace, created_ms=0, name="Test"))
    app = surface.make_app(services)
    runner = await serve(app, "127.0.0.1", 0, surface=surface.name, render=surface.render)
    try:
        yield Strange(Contract(surface.name), control, runner.port)
    finally:
        await runner.cleanup()


def services_of(surface: Surface, home: Path) -> Services:
    """With an identity provider."""
    control, verdicts = LocalControl(), LocalVerdicts("", max_waiters=100)
    log = MemoryLog(control, verdicts)
    log.refuses = UNAVAILABLE
    env = {"ATLAS_HOME": str(home), "ATLAS_MASTER_KEY": MASTER_KEY.hex(), "ATLAS_EDGE_PROVIDERS": DEAD_PROVIDERS}
    reader = cast(ControlReader, control)
    sessions = Sessions(SharedSecret(SESSION_SECRET), issuer=ISSUER, audience=AUDIENCE)
    authenticate = Authenticator(reader, HASHER, sessions=sessions, failures=FailedAttempts(), **surface.takes)
    authenticate._catch_up = SharedCatchUp(control.catch_up, apart_seconds=0)  # there is no broker to be spared
    return Services(
        settings=Settings.from_env(env),
        events=cast(EventLog, log),
        verdicts=verdicts,
        live=LiveLog("127.0.0.1:1"),
        commands=cast(Any, Nothing()),
        control=reader,
        authenticate=authenticate,
        reads=cast(Any, Nothing()),
        signer=GatewaySigner(MASTER_KEY),
        cursors=Cursors(MASTER_KEY),
        position_tokens=EncryptedTokens(MASTER_KEY, POSITION_TOKENS),
    )


def a_key(name: str, kind: KeyKind, **changes: Any) -> tuple[Key, str]:
    """A live key of the workspace, and its token."""
    values: dict[str, Any] = {"workspace": WORKSPACE, "created_ms": 0, "environment": "live", **changes}
    key_id = f"key_{name}"
    token = mint_token(MASTER_KEY, kind, values["environment"], key_id)
    return Key(id=key_id, key_kind=kind, name=name, token_hash=HASHER.hash(token), **values), token


def a_session(**claims: Any) -> str:
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "usr_1", "workspace": WORKSPACE, "exp": time.time() + 600}
    return jwt.encode({**whole, **claims}, SESSION_SECRET, algorithm="HS256")
