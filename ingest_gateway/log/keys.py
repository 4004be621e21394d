"""Keys of a workspace, for the holder of the master key: `atlas keys …`. By commands on the log, as the API does it.

Raises WorkspaceRefused for what can't be done. Every function runs a loop of its own.
"""

import uuid
from typing import NamedTuple

from domain.security.api_tokens import mint_token
from ingest_gateway.log.bootstrap import WorkspaceRefused, ask, with_clients
from ingest_gateway.log.clients import LogClients
from operations.settings import Settings
from schemas.commands.answers import decode_state
from schemas.commands.keys import CreateKey, RevokeKey, RotateKey
from schemas.commands.payload import Payload
from schemas.entities import Key


class Minted(NamedTuple):
    """A key and its secret, which is kept nowhere."""

    key: Key
    secret: str


def create_key(settings: Settings, workspace: str, payload: CreateKey) -> Minted:
    return _minted(settings, _decided(settings, workspace, payload.environment, payload))


def rotate_key(settings: Settings, workspace: str, environment: str, key_id: str, overlap_seconds: int) -> Minted:
    payload = RotateKey(id=key_id, overlap_seconds=overlap_seconds)
    return _minted(settings, _decided(settings, workspace, environment, payload))


def revoke_key(settings: Settings, workspace: str, environment: str, key_id: str) -> Key:
    return _decided(settings, workspace, environment, RevokeKey(id=key_id))


def list_keys(settings: Settings, workspace: str, environment: str) -> list[Key]:
    """Of every kind, oldest first, revoked ones too."""

    async def look(clients: LogClients) -> list[Key]:
        view = clients.control.view
        if workspace not in view.workspaces:
            raise WorkspaceRefused(f"There is no workspace {workspace}.")
        return view.keys_of(workspace, environment)

    return with_clients(settings, look)


def _decided(settings: Settings, workspace: str, environment: str, payload: Payload) -> Key:
    """The key in the answer. Under one idempotency key, so that asking again decides nothing again."""
    request = f"cli-{uuid.uuid4().hex}"
    body = with_clients(settings, lambda clients: ask(clients, workspace, payload, request, environment))
    key: Key = decode_state(body, Key)
    return key


def _minted(settings: Settings, key: Key) -> Minted:
    return Minted(key, mint_token(settings.master_key, key.key_kind, key.environment, key.id))
