"""What every surface reads from a request in the same way: its caller, its idempotency key, its route."""

from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from domain.events.fields import NO_KEY, key_from_header
from domain.security.callers import CallerContext
from domain.security.principals import Principal
from ingest_gateway.http.addresses import address_of
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.http.guard import REQUEST_ID
from ingest_gateway.identity.authentication import require_scope
from ingest_gateway.services import SERVICES, Services
from ingest_gateway.surfaces.shared.errors import READ_MODEL_BEHIND
from schemas.errors import FieldError

IDEMPOTENCY_KEY = "Idempotency-Key"
_Found = TypeVar("_Found")


def caller(request: web.Request, scope: str) -> tuple[Services, Principal]:
    """The caller; Refused where the credential is bad or does not allow this."""
    services = request.app[SERVICES]
    principal = services.authenticate(request)
    require_scope(principal, scope)
    return services, principal


async def look_twice(services: Services, look: Callable[[], _Found | None]) -> _Found | None:
    """What `look` finds in the view of `control`. What it does not find may have been created a moment ago, so
    `control` is read to its end once. Raises Refused where that is not possible now.
    """
    found = look()
    if found is None:
        await read_control_on(services)
        found = look()
    return found


async def read_control_on(services: Services) -> None:
    """Reads `control` to its present end, so that the view holds all that any gateway has answered. Raises Refused:
    read_model_behind.
    """
    if not await services.control.catch_up(services.settings.read_timeout_seconds):
        raise READ_MODEL_BEHIND.refused()


def caller_context(request: web.Request, actor: str, *, route: str | None = None) -> CallerContext:
    """The caller of this request, as records name it. `route`: where it is not the request's own."""
    return CallerContext(actor, route or route_of(request), request[REQUEST_ID], address_of(request))


def route_of(request: web.Request) -> str:
    """Method and path as the document writes it: `PATCH /v1/event-streams/{stream}`."""
    resource = request.match_info.route.resource
    return f"{request.method} {request.path if resource is None else resource.canonical}"


def idempotency_key(request: web.Request) -> str | None:
    """The header's key, bare or in quotes. The guard has refused a header that is given twice."""
    written = request.headers.get(IDEMPOTENCY_KEY)
    if written is None:
        return None
    key = key_from_header(written)
    if key is None:
        raise Refused(ErrorKind.INVALID_FIELDS, fields=[FieldError(IDEMPOTENCY_KEY, NO_KEY)])
    return key
