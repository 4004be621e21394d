"""`/api/guardrails/enforce`, `/status` and `/policy`: manual flags, the organization's status, its layers' policy.

The owner of the organization's partition decides each in the order of the telemetry, so a flag that is set after a call
takes effect after it. Both enforce operations are idempotent: an active flag is replaced, and a cleared one stays
cleared.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from domain.entities.organizations import org_of
from domain.json.strict import JsonError, decode_object
from domain.security.principals import Principal
from ingest_gateway.http.bodies import content_type, read_body
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.services import SERVICES
from ingest_gateway.surfaces.burn.asking import ask, check_organization
from ingest_gateway.surfaces.burn.views import account_view, flag_view
from ingest_gateway.surfaces.shared.answers import json_response
from ingest_gateway.surfaces.shared.requests import read_control_on
from schemas.errors import FieldError
from schemas.guardrail_policy import TTL_SECONDS_MAX, GuardrailPolicy, Scope
from schemas.telemetry import Account, Ask, Enforce, Resume, SetPolicy, Standing

BODY_BYTES_MAX = 256 * 1024
ACTIVE = "active"
Reason = Annotated[str, Meta(min_length=1, max_length=1_000)]
Decoded = TypeVar("Decoded")


class Suspension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ttl_seconds`: the policy's if absent; 0: until the flag is cleared. `scope_id` is required unless the scope is
    the organization.
    """

    org_id: str
    action: Literal["suspend"]
    layer: Annotated[str, Meta(min_length=1, max_length=100)]
    reason: Reason
    ttl_seconds: Annotated[int, Meta(ge=0, le=TTL_SECONDS_MAX)] | None = None
    scope: Scope = Scope.ORG
    scope_id: Annotated[str, Meta(max_length=200)] = ""


class Resumption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Without a scope: all flags of the organization."""

    org_id: str
    reason: Reason
    scope: Scope | None = None
    scope_id: Annotated[str, Meta(max_length=200)] = ""


_suspension = msgspec.json.Decoder(Suspension)
_resumption = msgspec.json.Decoder(Resumption)
_policy = msgspec.json.Decoder(GuardrailPolicy)
_standing = msgspec.json.Decoder(Standing).decode
_account = msgspec.json.Decoder(Account).decode


async def suspend(request: web.Request) -> web.Response:
    principal = request.app[SERVICES].authenticate(request)
    asked = await _body(request, _suspension)
    check_organization(principal, asked.org_id)
    _check_scope(asked.scope, asked.scope_id)
    form = Enforce(
        layer=asked.layer,
        reason=asked.reason,
        ttl_seconds=asked.ttl_seconds,
        scope=asked.scope,
        scope_id=asked.scope_id,
    )
    standing = _standing((await ask(request, form)).body)
    assert standing.flag is not None
    await request.app[SERVICES].control.catch_up()
    return json_response(enforced(principal, flag_view(standing.flag)["expires_at"], standing.state))


async def resume(request: web.Request) -> web.Response:
    """Lifts the suspension at once. The layer that tripped counts from zero again."""
    principal = request.app[SERVICES].authenticate(request)
    asked = await _body(request, _resumption)
    check_organization(principal, asked.org_id)
    _check_scope(asked.scope or Scope.ORG, asked.scope_id)
    await ask(request, Resume(reason=asked.reason, scope=asked.scope, scope_id=asked.scope_id))
    await request.app[SERVICES].control.catch_up()
    return json_response(enforced(principal, None, ACTIVE))


def enforced(principal: Principal, expires_at: str | None, state: str) -> dict[str, Any]:
    """The answer that the API document gives for both operations."""
    kv_key = f"guardrail:{org_of(principal.workspace)}"
    return {"ok": True, "kv_key": kv_key, "state": state, "expires_at": expires_at}


async def status(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    principal = services.authenticate(request)
    account = _account((await ask(request, Ask(days=31))).body)
    policy = services.control.view.policy(principal.workspace)
    return json_response(account_view(org_of(principal.workspace), account, policy))


async def get_policy(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    principal = services.authenticate(request)
    await read_control_on(services)
    return json_response(services.control.view.policy(principal.workspace))


async def put_policy(request: web.Request) -> web.Response:
    """Replaces the whole policy. A member that is left out gets its default."""
    policy = await _body(request, _policy)
    _check_policy(policy)
    verdict = await ask(request, SetPolicy(policy=policy))
    await request.app[SERVICES].control.catch_up()
    return web.Response(body=verdict.body, content_type="application/json")


async def _body(request: web.Request, decoder: "msgspec.json.Decoder[Decoded]") -> Decoded:
    content_type(request, "application/json")
    body = await read_body(request, BODY_BYTES_MAX)
    try:
        return decode_object(body, decoder)
    except JsonError as error:
        field, kind = error.path or missing_in(error.message), ErrorKind.INVALID_FIELDS
        raise Refused(kind, error.message, fields=[FieldError(field, error.message)] if field else ()) from None


def missing_in(message: str) -> str:
    """The field that msgspec's message names: Object missing required field `reason`."""
    return message.split("`")[1] if "field `" in message else ""


def _check_scope(scope: Scope, scope_id: str) -> None:
    if (scope is Scope.ORG) == bool(scope_id):
        message = "Must be given with a scope other than org, and with no other."
        raise Refused(ErrorKind.INVALID_FIELDS, message, fields=[FieldError("scope_id", message)])


def _check_policy(policy: GuardrailPolicy) -> None:
    errors = []
    for index, cap in enumerate(policy.financial_limits.caps):
        path = f"financial_limits.caps[{index}]"
        if cap.soft_usd is None and cap.hard_usd is None:
            errors.append(FieldError(path, "Must have soft_usd, hard_usd or both."))
        if cap.scope is Scope.ORG and cap.id != "*":
            errors.append(FieldError(f"{path}.id", "Must not be given for the organization's own cap."))
        if not cap.id:
            errors.append(FieldError(f"{path}.id", "Must not be empty."))
    if errors:
        raise Refused(ErrorKind.INVALID_FIELDS, fields=errors)


ROUTES = (
    web.post("/api/guardrails/enforce", suspend, name="suspend"),
    web.delete("/api/guardrails/enforce", resume, name="resume"),
    web.get("/api/guardrails/status", status, name="guardrail_status"),
    web.get("/api/guardrails/policy", get_policy, name="get_policy"),
    web.put("/api/guardrails/policy", put_policy, name="put_policy"),
)
