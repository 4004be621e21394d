"""`/v1/projects`: create, list, show and change the projects of the caller's tenant."""

import orjson
from aiohttp import web

from domain.security.principals import PROJECTS_READ, PROJECTS_WRITE
from ingest_gateway.http.queries import read_query, whole_number
from ingest_gateway.surfaces.shared.requests import caller
from ingest_gateway.surfaces.work.commands import answer, item_decided, json_body
from ingest_gateway.surfaces.work.errors import PROJECT_NOT_FOUND
from ingest_gateway.surfaces.work.forms import read_new_project, read_project_changes
from ingest_gateway.surfaces.work.reads import LIMIT_DEFAULT, LIMIT_MAX, Pages, asked, look_until_sure, wait_for_writes
from ingest_gateway.surfaces.work.versions import IF_MATCH, read_if_match, shown
from schemas.ids import is_id
from schemas.work import PROJECT

PATH = "/v1/projects"


async def create_project(request: web.Request) -> web.Response:
    services, principal = caller(request, PROJECTS_WRITE)
    payload = read_new_project(await json_body(request))
    return answer(await item_decided(request, services, principal, payload))


async def list_projects(request: web.Request) -> web.Response:
    services, principal = caller(request, PROJECTS_READ)
    parameters = read_query(request, ("limit", "cursor"))
    limit = whole_number(parameters, "limit", minimum=1, maximum=LIMIT_MAX, default=LIMIT_DEFAULT)
    scope = principal.workspace, principal.environment
    pages = Pages(services, ("projects", *scope))
    after = pages.offset(parameters.get("cursor"))
    await wait_for_writes(request, services, principal)
    page = await asked(services.reads.projects_page(*scope, after, limit))
    return pages.answer([orjson.Fragment(body) for body in page.bodies], page.following)


async def get_project(request: web.Request) -> web.Response:
    services, principal = caller(request, PROJECTS_READ)
    read_query(request, ())
    project_id = _project_id(request)
    await wait_for_writes(request, services, principal)
    scope = principal.workspace, principal.environment
    body = await look_until_sure(services, principal, lambda: services.reads.project(*scope, project_id))
    if body is None:
        raise PROJECT_NOT_FOUND.refused()
    return shown(body)


async def update_project(request: web.Request) -> web.Response:
    services, principal = caller(request, PROJECTS_WRITE)
    versions = read_if_match(request.headers.get(IF_MATCH))
    payload = read_project_changes(_project_id(request), await json_body(request), versions)
    return answer(await item_decided(request, services, principal, payload))


def _project_id(request: web.Request) -> str:
    project_id = request.match_info["project"]
    if not is_id(project_id, PROJECT):
        raise PROJECT_NOT_FOUND.refused()
    return project_id


ROUTES = (
    web.post(PATH, create_project, name="create_project"),
    web.get(PATH, list_projects, name="list_projects"),
    web.get(PATH + "/{project}", get_project, name="get_project"),
    web.patch(PATH + "/{project}", update_project, name="update_project"),
)
