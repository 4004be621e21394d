"""Asks the guardrails for a verdict on behalf of a request. The burn handlers share it."""

from aiohttp import web

from domain.entities.organizations import org_of
from domain.security.principals import Principal
from ingest_gateway.log.event_log import LogBusy, LogUnavailable
from ingest_gateway.log.telemetry import TelemetryClient
from ingest_gateway.log.verdicts import VerdictLate
from ingest_gateway.services import SERVICES
from ingest_gateway.surfaces.burn.errors import NO_VERDICT, OTHER_ORGANIZATION
from ingest_gateway.surfaces.shared.errors import BUSY, refused_by
from ingest_gateway.surfaces.shared.requests import caller_context
from schemas.commands.answers import DONE
from schemas.records import Verdict
from schemas.telemetry import TelemetryForm

TELEMETRY = web.AppKey("telemetry", TelemetryClient)


async def ask(request: web.Request, form: TelemetryForm) -> Verdict:
    """The guardrails' verdict, once this process's view of `control` has its effect. Raises Refused."""
    services = request.app[SERVICES]
    principal = services.authenticate(request)
    try:
        verdict = await request.app[TELEMETRY].submit(
            principal.workspace, caller_context(request, principal.key_id), form
        )
    except LogBusy:
        raise BUSY.refused() from None
    except (LogUnavailable, VerdictLate):
        raise NO_VERDICT.refused() from None
    if verdict.outcome != DONE:
        raise refused_by(verdict)
    return verdict


def check_organization(principal: Principal, written: str | None) -> None:
    """Refuses a body whose organization is not the key's own: 403 (X-12)."""
    if written is not None and written not in (principal.workspace, org_of(principal.workspace)):
        raise OTHER_ORGANIZATION.refused()
