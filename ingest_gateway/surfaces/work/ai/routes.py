"""`POST /v1/ai/plan`: text in, proposed tasks out. `POST /v1/ai/summarize`: a project's state in words.

Neither changes anything: a client that wants the proposed tasks creates them.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from domain.security.principals import AI_USE, Principal
from ingest_gateway.http.guard import REQUEST_ID
from ingest_gateway.read_model.work_pages import TaskFilter
from ingest_gateway.services import SERVICES, Services
from ingest_gateway.surfaces.shared.forms import Form, text_error
from ingest_gateway.surfaces.shared.requests import caller
from ingest_gateway.surfaces.work.ai.model import Model, Said
from ingest_gateway.surfaces.work.ai.plans import (
    PLAN,
    SUMMARISED_TASKS_MAX,
    SUMMARY,
    Unusable,
    plan_request,
    read_plan,
    read_summary,
    summary_request,
)
from ingest_gateway.surfaces.work.ai.reservations import answered_once
from ingest_gateway.surfaces.work.commands import json_body
from ingest_gateway.surfaces.work.errors import AI_NOT_CONFIGURED, AI_UNUSABLE, UNKNOWN_PROJECT
from ingest_gateway.surfaces.work.forms import NO_PROJECT_ID
from ingest_gateway.surfaces.work.reads import asked, look_until_sure, wait_for_writes
from schemas.errors import FieldError
from schemas.ids import is_id
from schemas.work import PROJECT

TEXT_CHARACTERS_MAX = 20_000
MODEL: web.AppKey[Model] = web.AppKey("work_model", Model)


async def plan(request: web.Request) -> web.Response:
    services, principal = _caller(request)
    form = Form(await json_body(request), frozenset({"text"}))
    text = form.string("text", text_error(TEXT_CHARACTERS_MAX, least=1)) or ""
    form.raise_errors()

    async def make() -> dict[str, Any]:
        said = await _said(request, principal, PLAN, plan_request(text), as_json=True)
        try:
            return {"tasks": read_plan(said.text), **_usage(said)}
        except Unusable:
            raise AI_UNUSABLE.refused() from None

    return await answered_once(request, services, principal, "ai.plan", make)


async def summarize(request: web.Request) -> web.Response:
    services, principal = _caller(request)
    form = Form(await json_body(request), frozenset({"projectId"}))
    project_id = form.string("projectId", lambda text: None if is_id(text, PROJECT) else NO_PROJECT_ID) or ""
    form.raise_errors()

    async def make() -> dict[str, Any]:
        project, tasks = await _project(request, services, principal, project_id)
        said = await _said(request, principal, SUMMARY, summary_request(project, tasks), as_json=False)
        try:
            summary = read_summary(said.text)
        except Unusable:
            raise AI_UNUSABLE.refused() from None
        return {"projectId": project_id, "summary": summary, "tasks": len(tasks), **_usage(said)}

    return await answered_once(request, services, principal, "ai.summarize", make)


async def model_running(app: web.Application) -> AsyncIterator[None]:
    app[MODEL] = Model(app[SERVICES])
    try:
        yield
    finally:
        await app[MODEL].close()


def _caller(request: web.Request) -> tuple[Services, Principal]:
    services, principal = caller(request, AI_USE)
    if services.settings.llm is None:
        raise AI_NOT_CONFIGURED.refused()
    return services, principal


async def _said(request: web.Request, principal: Principal, system: str, user: str, *, as_json: bool) -> Said:
    return await request.app[MODEL].say(principal, system, user, as_json=as_json, request_id=request[REQUEST_ID])


async def _project(
    request: web.Request, services: Services, principal: Principal, project_id: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """With its tasks, the oldest 500. Raises Refused (422)."""
    scope = principal.workspace, principal.environment
    await wait_for_writes(request, services, principal)
    body = await look_until_sure(services, principal, lambda: services.reads.project(*scope, project_id))
    if body is None:
        message = f"There is no project {project_id}."
        raise UNKNOWN_PROJECT.refused(fields=[FieldError("projectId", message)])
    chosen = TaskFilter(project_id=project_id)
    page = await asked(services.reads.tasks_page(*scope, chosen, 0, SUMMARISED_TASKS_MAX))
    return msgspec.json.decode(body), [msgspec.json.decode(task) for task in page.bodies]


def _usage(said: Said) -> dict[str, Any]:
    return {"model": said.model, "usage": {"inputTokens": said.tokens_in, "outputTokens": said.tokens_out}}


ROUTES = (
    web.post("/v1/ai/plan", plan, name="ai_plan"),
    web.post("/v1/ai/summarize", summarize, name="ai_summarize"),
)
