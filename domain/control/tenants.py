"""The rules of workspaces and workflows. Pure."""

import re

import msgspec

from domain.control import reach, route_topics
from domain.control.keys import new_key, streams_fit
from domain.control.values import NO_CHANGES, Asked, Changes, Done, Facts, Refused, TokenHash, absent, body_of
from schemas.commands import (
    CreateWorkflow,
    CreateWorkspace,
    DeleteWorkflow,
    DisableWorkflow,
    ReactivateWorkflow,
    WorkspaceCreated,
)
from schemas.entities import Subscription, Target, Workflow, Workspace
from schemas.ids import SPINE_SUBSCRIPTION, WEBHOOK_ENDPOINT, WORK_WEBHOOK, WORKFLOW, derived_id

WORKSPACE_ID = re.compile(r"[A-Za-z0-9_-]{3,64}")  # it is a part of topic names


def create_workspace(facts: Facts, asked: Asked, payload: CreateWorkspace, token_hash: TokenHash) -> Done:
    workspace_id = asked.command.workspace
    if WORKSPACE_ID.fullmatch(workspace_id) is None:
        raise Refused(400, "invalid_request", "A workspace id is 3 to 64 letters, digits, - and _.")
    if facts.workspace(workspace_id) is not None:
        raise Refused(409, "workspace_exists", f"The workspace {workspace_id} exists.")
    workspace = Workspace(id=workspace_id, workspace=workspace_id, created_ms=asked.append_ms, name=payload.name)
    for new in payload.keys:
        streams_fit(new)
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
        topic=payload.topic,
        ordering=payload.ordering,
        streams=reach.streams_of_maker(facts, asked),
    )
    if facts.workflow(command.workspace, command.environment, workflow.id) is not None:
        raise Refused(409, "workflow_exists", f"The workflow {workflow.id} exists.")
    if workflow.topic:
        return route_topics.create(facts, asked, workflow)
    return Done(201, Changes(put=(workflow.to_entity(asked.version),)), f"workflow/{workflow.id}", body_of(workflow))


def delete_workflow(facts: Facts, asked: Asked, payload: DeleteWorkflow) -> Done:
    workflow = _workflow(facts, asked, payload.id)
    started = (route_topics.expiry(asked, workflow),) if workflow.topic else ()
    return Done(204, Changes(gone=(workflow.to_entity(asked.version),), started=started), f"workflow/{workflow.id}")


def disable_workflow(facts: Facts, asked: Asked, payload: DisableWorkflow) -> Done:
    """One that is disabled, or was reactivated since the answer that disables it, stays as it is."""
    before = target(facts, asked, payload.id)
    if before.disabled_ms is not None or before.reactivations != payload.reactivations:
        return Done(200, NO_CHANGES, resource_of(before), body_of(before))
    return changed(asked, msgspec.structs.replace(before, disabled_ms=asked.append_ms))


def reactivate_workflow(facts: Facts, asked: Asked, payload: ReactivateWorkflow) -> Done:
    """Counts also where it was not disabled: a 410 answered before it, and told of only later, is taken back too."""
    before = target(facts, asked, payload.id)
    return changed(asked, msgspec.structs.replace(before, disabled_ms=None, reactivations=before.reactivations + 1))


def target(facts: Facts, asked: Asked, target_id: str) -> Target:
    """A workflow, a webhook endpoint or a subscription, as the id says. Raises Refused (404)."""
    command = asked.command
    if target_id.startswith((SPINE_SUBSCRIPTION, WORK_WEBHOOK)):
        return subscription(facts, asked, target_id)
    if not target_id.startswith(WEBHOOK_ENDPOINT):
        return _workflow(facts, asked, target_id)
    endpoint = facts.endpoint(command.workspace, command.environment, target_id)
    if endpoint is None:
        raise absent("webhook_endpoint_not_found")
    return endpoint


def changed(asked: Asked, after: Target) -> Done:
    return Done(200, Changes(put=(after.to_entity(asked.version),)), resource_of(after), body_of(after))


def resource_of(state: Target) -> str:
    return f"{state.kind}/{state.id}"


def subscription(facts: Facts, asked: Asked, subscription_id: str) -> Subscription:
    """Raises Refused (404)."""
    command = asked.command
    found = facts.subscription(command.workspace, command.environment, subscription_id)
    if found is None:
        raise Refused(404, "subscription_not_found", f"There is no subscription {subscription_id}.")
    return found


def _workflow(facts: Facts, asked: Asked, workflow_id: str) -> Workflow:
    workflow = facts.workflow(asked.command.workspace, asked.command.environment, workflow_id)
    if workflow is None:
        raise absent("workflow_not_found")
    return workflow
