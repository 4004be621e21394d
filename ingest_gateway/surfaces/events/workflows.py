"""`/v1/workflows`: create, list, show, reactivate and delete the targets of routes. A secret is shown once."""

from aiohttp import web

from domain.delivery.signatures import signing_secret
from domain.security.principals import WORKFLOWS_READ, WORKFLOWS_WRITE
from ingest_gateway.http.bodies import read_body
from ingest_gateway.http.queries import read_query
from ingest_gateway.surfaces.events.entity_forms import WORKFLOW_ID, read_new_workflow
from ingest_gateway.surfaces.events.entity_views import list_view, workflow_view
from ingest_gateway.surfaces.events.webhook_forms import read_secret_rotation
from ingest_gateway.surfaces.events.webhook_views import secret_view
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.commands import BODY_BYTES_MAX, decide, json_body
from ingest_gateway.surfaces.shared.errors import WORKFLOW_NOT_FOUND
from ingest_gateway.surfaces.shared.reach import seen, sees
from ingest_gateway.surfaces.shared.requests import caller, look_twice, read_control_on
from schemas.commands.answers import decode_state
from schemas.commands.workflows import DeleteWorkflow, ReactivateWorkflow
from schemas.entities import Workflow
from schemas.topics import route_topic_prefix


async def create_workflow(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_WRITE)
    settings = services.settings
    payload = read_new_workflow(
        await json_body(request),
        allow_private=settings.allow_private_targets,
        topic_prefix=route_topic_prefix(principal.workspace, principal.environment),
    )
    verdict = await decide(request, services, principal, payload)
    workflow: Workflow = decode_state(verdict.body, Workflow)
    if workflow.topic:
        return json_response(workflow_view(workflow), verdict.status)
    secret = signing_secret(settings.master_key, workflow.entity_id, workflow.secret_version)
    return json_response(workflow_view(workflow, secret), verdict.status)


async def list_workflows(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_READ)
    read_query(request, ())
    await read_control_on(services)
    mine = services.control.view.workflows_of(principal.workspace, principal.environment)
    return json_response(list_view(map(workflow_view, seen(services.control.view, principal, mine))))


async def get_workflow(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_READ)
    wanted = principal.workspace, principal.environment, request.match_info["workflow"]
    workflow = await look_twice(services, lambda: services.control.view.workflow(*wanted))
    if workflow is None or not sees(services.control.view, principal, workflow):
        raise WORKFLOW_NOT_FOUND.refused()
    return json_response(workflow_view(workflow))


async def reactivate_workflow(request: web.Request) -> web.Response:
    """After a 410: what waits for it is sent now."""
    services, principal = caller(request, WORKFLOWS_WRITE)
    verdict = await decide(request, services, principal, ReactivateWorkflow(id=_workflow_id(request)))
    return json_response(workflow_view(decode_state(verdict.body, Workflow)), verdict.status)


async def delete_workflow(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_WRITE)
    await decide(request, services, principal, DeleteWorkflow(id=_workflow_id(request)))
    return web.Response(status=204)


async def rotate_workflow_secret(request: web.Request) -> web.Response:
    """The new secret is in this answer and in no other; both sign what is sent until the overlap is over."""
    services, principal = caller(request, WORKFLOWS_WRITE)
    body = await json_body(request) if request.body_exists else await read_body(request, BODY_BYTES_MAX)
    payload = read_secret_rotation(_workflow_id(request), body)
    verdict = await decide(request, services, principal, payload)
    workflow: Workflow = decode_state(verdict.body, Workflow)
    secret = signing_secret(services.settings.master_key, workflow.entity_id, workflow.secret_version)
    view = workflow_view(workflow) | secret_view(workflow.previous_until_ms, secret)
    response = json_response(view, verdict.status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _workflow_id(request: web.Request) -> str:
    """The control agent takes other targets' ids as well; here they name nothing. A text without the form of an id is
    refused here and never logged: it may be a secret that was pasted.
    """
    workflow_id = request.match_info["workflow"]
    if WORKFLOW_ID.fullmatch(workflow_id) is None:
        raise WORKFLOW_NOT_FOUND.refused()
    return workflow_id


ROUTES = (
    web.post("/v1/workflows", create_workflow, name="create_workflow"),
    web.get("/v1/workflows", list_workflows, name="list_workflows"),
    web.get("/v1/workflows/{workflow}", get_workflow, name="get_workflow"),
    web.post("/v1/workflows/{workflow}/reactivate", reactivate_workflow, name="reactivate_workflow"),
    web.delete("/v1/workflows/{workflow}", delete_workflow, name="delete_workflow"),
    web.post("/v1/workflows/{workflow}/rotate-secret", rotate_workflow_secret, name="rotate_workflow_secret"),
)
