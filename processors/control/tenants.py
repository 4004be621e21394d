"""The rules of workspaces, keys and workflows. Pure."""

import re

import msgspec

from processors.control.values import Asked, Changes, Done, Facts, Refused, TokenHash, body_of
from schemas.commands import CreateKey, CreateWorkflow, CreateWorkspace, DeleteWorkflow, NewKey, WorkspaceCreated
from schemas.entities import Key, Workflow, Workspace
from schemas.ids import KEY, WORKFLOW, derived_id

WORKSPACE_ID = re.compile(r"[A-Za-z0-9_-]{3,64}")  # it is a part of topic names


def create_workspace(facts: Facts, asked: Asked, payload: CreateWorkspace, token_hash: TokenHash) -> Done:
    workspace_id = asked.command.workspace
    if WORKSPACE_ID.fullmatch(workspace_id) is None:
        raise Refused(400, "invalid_request", "A workspace id is 3 to 64 letters, digits, - and _.")
    if facts.workspace(workspace_id) is not None:
        raise Refused(409, "workspace_exists", f"The workspace {workspace_id} exists.")
    workspace = Workspace(id=workspace_id, workspace=workspace_id, created_ms=asked.append_ms, name=payload.name)
    keys = [_new_key(asked, new, index, token_hash) for index, new in enumerate(payload.keys)]
    put = tuple(state.to_entity(asked.version) for state in (workspace, *keys))
    body = msgspec.json.encode(WorkspaceCreated(workspace=workspace, keys=keys))
    return Done(201, Changes(put=put), f"workspace/{workspace_id}", body)


def create_key(asked: Asked, payload: CreateKey, token_hash: TokenHash) -> Done:
    new = NewKey(**{name: getattr(payload, name) for name in NewKey.__struct_fields__})
    key = _new_key(asked, new, 0, token_hash)
    return Done(201, Changes(put=(key.to_entity(asked.version),)), f"key/{key.id}", body_of(key))


def create_workflow(facts: Facts, asked: Asked, payload: CreateWorkflow) -> Done:
    command = asked.command
    workflow = Workflow(
        id=payload.id or derived_id(WORKFLOW, asked.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        created_ms=asked.append_ms,
        name=payload.name,
        url=payload.url,
    )
    if facts.workflow(command.workspace, command.environment, workflow.id) is not None:
        raise Refused(409, "workflow_exists", f"The workflow {workflow.id} exists.")
    return Done(201, Changes(put=(workflow.to_entity(asked.version),)), f"workflow/{workflow.id}", body_of(workflow))


def delete_workflow(facts: Facts, asked: Asked, payload: DeleteWorkflow) -> Done:
    workflow = facts.workflow(asked.command.workspace, asked.command.environment, payload.id)
    if workflow is None:
        raise Refused(404, "workflow_not_found", f"There is no workflow {payload.id}.")
    return Done(204, Changes(gone=(workflow.to_entity(asked.version),)), f"workflow/{workflow.id}")


def _new_key(asked: Asked, new: NewKey, index: int, token_hash: TokenHash) -> Key:
    key_id = derived_id(KEY, asked.append_ms, asked.command.id.encode(), index.to_bytes(2, "big"))
    return Key(
        id=key_id,
        workspace=asked.command.workspace,
        environment=new.environment,
        created_ms=asked.append_ms,
        key_kind=new.key_kind,
        name=new.name,
        token_hash=token_hash(new.key_kind, new.environment, key_id),
        scopes=new.scopes,
        streams=new.streams,
    )
