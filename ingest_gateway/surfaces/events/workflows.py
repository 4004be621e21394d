"""`/v1/workflows`: make, list, show and delete the targets of routes. A signing secret is shown once, at first."""

from aiohttp import web

from ingest_gateway.http.queries import read_query
from ingest_gateway.identity.principals import WORKFLOWS_READ, WORKFLOWS_WRITE
from ingest_gateway.surfaces.events.entity_commands import caller, decide, json_body, json_response
from ingest_gateway.surfaces.events.entity_forms import read_new_workflow
from ingest_gateway.surfaces.events.entity_views import list_view, workflow_view
from ingest_gateway.surfaces.events.faults import WORKFLOW_NOT_FOUND
from schemas.commands import DeleteWorkflow, decode_state
from schemas.entities import Workflow
from schemas.signatures import signing_secret


async def create_workflow(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_WRITE)
    settings = services.settings
    payload = read_new_workflow(await json_body(request), allow_private=settings.allow_private_targets)
    verdict = await decide(request, services, principal, payload)
    workflow: Workflow = decode_state(verdict.body, Workflow)
    secret = signing_secret(settings.master_key, workflow.entity_id, workflow.secret_version)
    return json_response(workflow_view(workflow, secret), verdict.status)


async def list_workflows(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_READ)
    read_query(request, ())
    await services.control.catch_up()
    mine = services.control.view.workflows_of(principal.workspace, principal.environment)
    return json_response(list_view(workflow_view(workflow) for workflow in mine))


async def get_workflow(request: web.Request) -> web.Response:
    """One that the view does not know may have been made a moment ago."""
    services, principal = caller(request, WORKFLOWS_READ)
    wanted = principal.workspace, principal.environment, request.match_info["workflow"]
    workflow = services.control.view.workflow(*wanted)
    if workflow is None:
        await services.control.catch_up()
        workflow = services.control.view.workflow(*wanted)
    if workflow is None:
        raise WORKFLOW_NOT_FOUND.refused()
    return json_response(workflow_view(workflow))


async def delete_workflow(request: web.Request) -> web.Response:
    services, principal = caller(request, WORKFLOWS_WRITE)
    await decide(request, services, principal, DeleteWorkflow(id=request.match_info["workflow"]))
    return web.Response(status=204)


ROUTES = (
    web.post("/v1/workflows", create_workflow, name="create_workflow"),
    web.get("/v1/workflows", list_workflows, name="list_workflows"),
    web.get("/v1/workflows/{workflow}", get_workflow, name="get_workflow"),
    web.delete("/v1/workflows/{workflow}", delete_workflow, name="delete_workflow"),
)
