"""The rules of workspaces and workflows. Pure."""

import re

import msgspec

from processors.control.keys import new_key
from processors.control.values import Asked, Changes, Done, Facts, Refused, TokenHash, body_of
from schemas.commands import CreateWorkflow, CreateWorkspace, DeleteWorkflow, WorkspaceCreated
from schemas.entities import Workflow, Workspace
from schemas.ids import WORKFLOW, derived_id

WORKSPACE_ID = re.compile(r"[A-Za-z0-9_-]{3,64}")  # it is a part of topic names


def create_workspace(facts: Facts, asked: Asked, payload: CreateWorkspace, token_hash: TokenHash) -> Done:
    workspace_id = asked.command.workspace
    if WORKSPACE_ID.fullmatch(workspace_id) is None:
        raise Refused(400, "invalid_request", "A workspace id is 3 to 64 letters, digits, - and _.")
    if facts.workspace(workspace_id) is not None:
        raise Refused(409, "workspace_exists", f"The workspace {workspace_id} exists.")
    workspace = Workspace(id=workspace_id, workspace=workspace_id, created_ms=asked.append_ms, name=payload.name)
    keys = [new_key(asked, new, index, token_hash) for index, new in enumerate(payload.keys)]
    put = tuple(state.to_entity(asked.version) for state in (workspace, *keys))
    body = msgspec.json.encode(WorkspaceCreated(workspace=workspace, keys=keys))
    return Done(201, Changes(put=put), f"workspace/{workspace_id}", body)


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
