"""The rules of workspaces and workflows."""

import re

import msgspec

from domain.control import reach, route_topics
from domain.control.handlers import Handlers, MintingHandler, RequestHandler
from domain.control.keys import new_key, streams_fit
from domain.control.values import (
    NO_CHANGES,
    CommandChanges,
    CommandRefused,
    CommandRequest,
    Done,
    Facts,
    TokenHash,
    absent,
    body_of,
)
from schemas.commands.workflows import CreateWorkflow, DeleteWorkflow, DisableWorkflow, ReactivateWorkflow
from schemas.commands.workspaces import CreateWorkspace, WorkspaceCreated
from schemas.entities import Subscription, Target, Workflow, Workspace
from schemas.ids import SPINE_SUBSCRIPTION, WEBHOOK_ENDPOINT, WORK_WEBHOOK, WORKFLOW, derived_id

WORKSPACE_ID = re.compile(r"[A-Za-z0-9_-]{3,64}")  # it is a part of topic names


def create_workspace(facts: Facts, request: CommandRequest, payload: CreateWorkspace, token_hash: TokenHash) -> Done:
    workspace_id = request.command.workspace
    if WORKSPACE_ID.fullmatch(workspace_id) is None:
        raise CommandRefused(400, "invalid_request", "A workspace id is 3 to 64 letters, digits, - and _.")
    if facts.workspace(workspace_id) is not None:
        raise CommandRefused(409, "workspace_exists", f"The workspace {workspace_id} exists.")
    workspace = Workspace(id=workspace_id, workspace=workspace_id, created_ms=request.append_ms, name=payload.name)
    for new in payload.keys:
        streams_fit(new)
    keys = [new_key(request, new, index, token_hash) for index, new in enumerate(payload.keys)]
    put = tuple(state.to_entity(request.version) for state in (workspace, *keys))
    body = msgspec.json.encode(WorkspaceCreated(workspace=workspace, keys=keys))
    return Done(201, CommandChanges(put=put), f"workspace/{workspace_id}", body)


def create_workflow(facts: Facts, request: CommandRequest, payload: CreateWorkflow) -> Done:
    command = request.command
    workflow = Workflow(
        id=payload.id or derived_id(WORKFLOW, request.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        created_ms=request.append_ms,
        name=payload.name,
        url=payload.url,
        topic=payload.topic,
        ordering=payload.ordering,
        streams=reach.streams_of_maker(facts, request),
    )
    if facts.workflow(command.workspace, command.environment, workflow.id) is not None:
        raise CommandRefused(409, "workflow_exists", f"The workflow {workflow.id} exists.")
    if workflow.topic:
        return route_topics.create(facts, request, workflow)
    return Done(
        201, CommandChanges(put=(workflow.to_entity(request.version),)), f"workflow/{workflow.id}", body_of(workflow)
    )


def delete_workflow(facts: Facts, request: CommandRequest, payload: DeleteWorkflow) -> Done:
    workflow = _workflow(facts, request, payload.id)
    started = (route_topics.expiry(request, workflow),) if workflow.topic else ()
    return Done(
        204, CommandChanges(gone=(workflow.to_entity(request.version),), started=started), f"workflow/{workflow.id}"
    )


def disable_workflow(facts: Facts, request: CommandRequest, payload: DisableWorkflow) -> Done:
    """Disables the target, unless it is disabled already or was reactivated after the answer that disables it."""
    before = target(facts, request, payload.id)
    if before.disabled_ms is not None or before.reactivations != payload.reactivations:
        return Done(200, NO_CHANGES, resource_of(before), body_of(before))
    return changed(request, msgspec.structs.replace(before, disabled_ms=request.append_ms))


def reactivate_workflow(facts: Facts, request: CommandRequest, payload: ReactivateWorkflow) -> Done:
    """Reactivates the target. It also overrides a 410 that was answered earlier and is only reported later."""
    before = target(facts, request, payload.id)
    return changed(request, msgspec.structs.replace(before, disabled_ms=None, reactivations=before.reactivations + 1))


def target(facts: Facts, request: CommandRequest, target_id: str) -> Target:
    """The workflow, webhook endpoint or subscription with this id. Raises CommandRefused (404)."""
    command = request.command
    if target_id.startswith((SPINE_SUBSCRIPTION, WORK_WEBHOOK)):
        return subscription(facts, request, target_id)
    if not target_id.startswith(WEBHOOK_ENDPOINT):
        return _workflow(facts, request, target_id)
    endpoint = facts.endpoint(command.workspace, command.environment, target_id)
    if endpoint is None:
        raise absent("webhook_endpoint_not_found")
    return endpoint


def changed(request: CommandRequest, after: Target) -> Done:
    return Done(200, CommandChanges(put=(after.to_entity(request.version),)), resource_of(after), body_of(after))


def resource_of(state: Target) -> str:
    return f"{state.kind}/{state.id}"


def subscription(facts: Facts, request: CommandRequest, subscription_id: str) -> Subscription:
    """Raises CommandRefused (404)."""
    command = request.command
    found = facts.subscription(command.workspace, command.environment, subscription_id)
    if found is None:
        raise CommandRefused(404, "subscription_not_found", f"There is no subscription {subscription_id}.")
    return found


def _workflow(facts: Facts, request: CommandRequest, workflow_id: str) -> Workflow:
    workflow = facts.workflow(request.command.workspace, request.command.environment, workflow_id)
    if workflow is None:
        raise absent("workflow_not_found")
    return workflow


HANDLERS: Handlers = {
    CreateWorkspace: MintingHandler(create_workspace, needs_workspace=False),
    CreateWorkflow: RequestHandler(create_workflow),
    DeleteWorkflow: RequestHandler(delete_workflow),
    DisableWorkflow: RequestHandler(disable_workflow),
    ReactivateWorkflow: RequestHandler(reactivate_workflow),
}
