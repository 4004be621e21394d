"""Workspaces and their first keys, for the holder of the master key: `atlas up` and `atlas workspace create`.

Both go through the log like every other command. A token is never stored; it is derived from the master key and its
key's id, so the holder of the master key can show it again.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from domain.entities.control_view import ControlView
from domain.security.api_tokens import mint_token
from domain.security.callers import CallerContext
from domain.security.key_derivation import derive_key
from ingest_gateway.log.clients import KafkaAway, LogClients, log_clients, ready_or_away
from ingest_gateway.log.event_log import LogBusy, LogUnavailable
from ingest_gateway.log.verdicts import VerdictLate
from operations import clock
from operations.new_commands import new_command
from operations.settings import Settings
from schemas.commands.answers import DONE, decode_refusal, decode_state
from schemas.commands.keys import CreateKey, NewKey
from schemas.commands.payload import Payload
from schemas.commands.workspaces import CreateWorkspace, WorkspaceCreated
from schemas.entities import Key, KeyKind
from schemas.ids import ALPHABET, WORKSPACE

TIMEOUT_SECONDS = 60.0
PUBLISHABLE_STREAMS = ["orders-prod", "audit-prod"]
READ_SCOPES = ["projects:read", "tasks:read", "webhooks:read"]
FIRST_KEYS = [
    NewKey(name="live", environment="live", key_kind=KeyKind.SECRET),
    NewKey(name="test", environment="test", key_kind=KeyKind.SECRET),
    NewKey(name="publishable", environment="live", key_kind=KeyKind.PUBLISHABLE, streams=PUBLISHABLE_STREAMS),
    NewKey(name="pat", environment="live", key_kind=KeyKind.ACCESS_TOKEN),
    NewKey(name="read_only_pat", environment="live", key_kind=KeyKind.ACCESS_TOKEN, scopes=READ_SCOPES),
    NewKey(name="spine", environment="live", key_kind=KeyKind.SPINE),
    NewKey(name="spine_test", environment="test", key_kind=KeyKind.SPINE),
    NewKey(name="burn", environment="live", key_kind=KeyKind.ORG),
]
"""One of each kind that a quickstart needs."""


_Result = TypeVar("_Result")


class WorkspaceRefused(Exception):
    """The request for a workspace can't be carried out; the message says why."""


def development_workspace_id(master_key: bytes) -> str:
    """One for each installation, the same at every start."""
    digest = hmac.digest(derive_key(master_key, "development-workspace"), b"", "sha256")
    return WORKSPACE + "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:10])


def ensure_development_workspace(settings: Settings) -> dict[str, str]:
    """Ids and tokens of the development workspace, which is created where it is missing.

    `{"workspace_id", "live_key", …}`: a token for each of FIRST_KEYS. Raises WorkspaceRefused.
    """
    workspace_id = development_workspace_id(settings.master_key)
    return create_workspace(settings, workspace_id, "Development", idempotency_key="dev")


def create_workspace(
    settings: Settings, workspace_id: str, name: str, idempotency_key: str | None = None
) -> dict[str, str]:
    """The same for any workspace; one that exists is answered with its keys. Runs a loop of its own."""
    return with_clients(
        settings,
        lambda clients: ask_for_workspace(clients, settings.master_key, workspace_id, name, idempotency_key),
    )


def with_clients(settings: Settings, work: Callable[[LogClients], Awaitable[_Result]]) -> _Result:
    """Runs `work` with clients that are ready, on a loop of its own. Raises WorkspaceRefused where the log is away."""

    async def run() -> _Result:
        async with log_clients(settings) as clients, asyncio.timeout(TIMEOUT_SECONDS):
            await ready_or_away(clients, settings.kafka)
            return await work(clients)

    try:
        return asyncio.run(run())
    except KafkaAway as away:
        raise WorkspaceRefused(str(away)) from away
    except TimeoutError as error:
        raise WorkspaceRefused(f"no answer within {TIMEOUT_SECONDS:g} s: does the control process run?") from error


async def ask_for_workspace(
    clients: LogClients, master_key: bytes, workspace_id: str, name: str, idempotency_key: str | None = None
) -> dict[str, str]:
    """`create_workspace` over clients that are `ready`, until there is an answer."""
    keys = await _ensure_keys(clients, workspace_id, name, idempotency_key)
    tokens = {f"{key.name}_key": mint_token(master_key, key.key_kind, key.environment, key.id) for key in keys}
    return {"workspace_id": workspace_id, **tokens}


async def _ensure_keys(clients: LogClients, workspace_id: str, name: str, idempotency_key: str | None) -> list[Key]:
    """The first keys, created with the workspace; a workspace that exists gets those that it lacks."""
    if workspace_id not in clients.control.view.workspaces:
        whole = CreateWorkspace(name=name, keys=FIRST_KEYS)
        created: WorkspaceCreated = decode_state(
            await ask(clients, workspace_id, whole, idempotency_key or workspace_id), WorkspaceCreated
        )
        return created.keys
    there = _keys_by_name(clients.control.view, workspace_id)
    return [there.get(key.name) or await _add_key(clients, workspace_id, key) for key in FIRST_KEYS]


async def _add_key(clients: LogClients, workspace_id: str, key: NewKey) -> Key:
    payload = CreateKey(**msgspec.structs.asdict(key))
    added: Key = decode_state(await ask(clients, workspace_id, payload, f"first-key/{key.name}"), Key)
    return added


def _keys_by_name(view: ControlView, workspace_id: str) -> dict[str, Key]:
    """The oldest of each name that is still valid and was not rotated."""
    now_ms = clock.now_ms()
    mine = [key for key in view.keys.values() if key.workspace == workspace_id and key.holds(now_ms)]
    mine = [key for key in mine if not key.rotated_to]
    return {key.name: key for key in sorted(mine, key=lambda key: (key.created_ms, key.id), reverse=True)}


async def ask(
    clients: LogClients, workspace_id: str, payload: Payload, idempotency_key: str, environment: str = "live"
) -> bytes:
    """The answer's body. Sends the command until there is one: under its key the command is decided once. Raises
    WorkspaceRefused."""
    command = new_command(
        payload,
        workspace=workspace_id,
        environment=environment,
        caller=CallerContext("master-key"),
        now_ms=clock.now_ms(),
        idempotency_key=idempotency_key,
    )
    while True:
        try:
            verdict = await clients.commands.submit(command)
            break
        except (VerdictLate, LogBusy, LogUnavailable):
            await asyncio.sleep(0.2)
    if verdict.outcome != DONE:
        raise WorkspaceRefused(decode_refusal(verdict.body).message)
    return verdict.body
