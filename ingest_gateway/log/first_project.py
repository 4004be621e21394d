"""The development workspace's first project, so that the work API's samples have one to put tasks into."""

import asyncio

import msgspec

from domain.security.callers import CallerContext
from ingest_gateway.log.bootstrap import WorkspaceRefused, with_clients
from ingest_gateway.log.clients import LogClients
from ingest_gateway.log.event_log import LogBusy, LogUnavailable
from ingest_gateway.log.system_streams import SystemStreams
from ingest_gateway.log.verdicts import VerdictLate
from ingest_gateway.read_model.queries import ReadModel, ReadModelUnavailable
from operations import clock
from operations.new_commands import new_command
from operations.settings import Settings
from schemas.commands.answers import DONE, decode_refusal
from schemas.commands.work import CreateProject
from schemas.work import STREAM, SURFACE

NAME = "First project"
ENVIRONMENT = "live"
AGAIN_SECONDS = 0.2


def ensure_project(settings: Settings, workspace_id: str) -> str:
    """The id of the workspace's oldest project; one is made where there is none. Raises WorkspaceRefused."""
    return with_clients(settings, lambda clients: _ensured(settings, clients, workspace_id))


async def _ensured(settings: Settings, clients: LogClients, workspace_id: str) -> str:
    """A read model that is being filled may not know of one; then there are two, which does no harm."""
    reads = ReadModel(settings.database_url, threads=1)
    try:
        page = await reads.projects_page(workspace_id, ENVIRONMENT, 0, 1)
    except ReadModelUnavailable:
        page = None
    finally:
        await reads.close()
    if page is not None and page.bodies:
        return _id_in(page.bodies[0])
    return _id_in(await _made(settings, clients, workspace_id))


async def _made(settings: Settings, clients: LogClients, workspace_id: str) -> bytes:
    """Asks again until there is an answer: under its key the command is decided once."""
    timeout_seconds = settings.verdict_timeout_seconds
    stream = SystemStreams(STREAM, clients.control, clients.commands, timeout_seconds=timeout_seconds)
    while True:
        command = new_command(
            CreateProject(name=NAME),
            workspace=workspace_id,
            environment=ENVIRONMENT,
            caller=CallerContext("master-key"),
            now_ms=clock.now_ms(),
            idempotency_key="first-project",
            surface=SURFACE,
        )
        try:
            await stream.ensure(workspace_id, ENVIRONMENT)
            verdict = await clients.commands.submit(command)
            break
        except (VerdictLate, LogBusy, LogUnavailable):
            await asyncio.sleep(AGAIN_SECONDS)
    if verdict.outcome != DONE:
        raise WorkspaceRefused(decode_refusal(verdict.body).message)
    return verdict.body


class _Project(msgspec.Struct):
    id: str


def _id_in(body: bytes | str) -> str:
    return msgspec.json.decode(body, type=_Project).id
