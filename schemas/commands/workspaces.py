"""The command that makes a workspace."""

from typing import ClassVar

import msgspec

from schemas.commands.keys import NewKey
from schemas.commands.payload import Payload
from schemas.entities import Key, Workspace


class CreateWorkspace(Payload, frozen=True, kw_only=True):
    """The id is the command's `workspace`. Answer 201: `WorkspaceCreated`. 409 `workspace_exists`."""

    kind: ClassVar[str] = "workspace.create"
    name: str
    keys: list[NewKey] = []


class WorkspaceCreated(msgspec.Struct, frozen=True, kw_only=True):
    """The body of the answer to `workspace.create`."""

    workspace: Workspace
    keys: list[Key]
