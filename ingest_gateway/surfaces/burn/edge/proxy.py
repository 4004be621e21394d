"""The edge proxy: takes one model call from its caller to the provider and back, records it, and stops it if needed.

It checks in this order: path, AtlasBurn key, body (held up to a limit), kill flags, strict budget; then it calls the
provider. The answer is forwarded piece by piece, unchanged; telemetry follows the answer. If the client leaves, the
provider's call ends at once.

*It fails open* (Law 4, B-041): only a strict budget, which its organization chose, waits for the log. A gateway that
has never read `control` knows no keys: it forwards calls with any key and keeps them as unattributed.
"""

import asyncio
import functools
from functools import cache

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict

from domain.security.api_tokens import TokenHasher
from ingest_gateway import metrics
from ingest_gateway.http.connection import when_client_leaves
from ingest_gateway.http.errors import ErrorAnswer, ErrorKind, Refused
from ingest_gateway.http.guard import REQUEST_ID
from ingest_gateway.http.request_log import note
from ingest_gateway.identity.authentication import require_scope
from ingest_gateway.identity.credentials import Presentation
from ingest_gateway.services import Services
from ingest_gateway.surfaces.burn.edge import heads, shapes
from ingest_gateway.surfaces.burn.edge.bodies import PARSED_HERE_BYTES, Held, hold
from ingest_gateway.surfaces.burn.edge.budget import OverBudget, StrictBudgets, refuse_unreadable, worst_cost_of
from ingest_gateway.surfaces.burn.edge.calls import ProxiedCall
from ingest_gateway.surfaces.burn.edge.endpoints import Kind
from ingest_gateway.surfaces.burn.edge.exchange import Exchange, own_answer
from ingest_gateway.surfaces.burn.edge.inspection import Inspected, inspect, opaque
from ingest_gateway.surfaces.burn.edge.providers import Provider, ProviderTarget
from ingest_gateway.surfaces.burn.edge.telemetry import Caller, TelemetryOut
from ingest_gateway.surfaces.burn.errors import CODES
from ingest_gateway.surfaces.shared.reach import WORKSPACE, require_reach
from ingest_gateway.surfaces.shared.requests import caller_context
from schemas.guardrail_policy import BudgetMode, Layer
from schemas.telemetry import Settle

WRITE_SCOPE = "burn:write"
_calls = cache(metrics.EDGE_CALLS.labels)
OUTCOMES = ("forwarded", "uncounted", "blocked", "over_budget", "budget_unavailable", "failed", "left")

UNSENDABLE = ErrorAnswer(
    ErrorKind.MALFORMED_REQUEST,
    "header_not_utf8",
    "holds bytes that are not UTF-8, and can't be passed on as they are.",
)


class EdgeProxy:
    """`handle` handles the routes of all providers."""

    def __init__(
        self,
        services: Services,
        presentation: Presentation,
        session: aiohttp.ClientSession,
        telemetry: TelemetryOut,
        budgets: StrictBudgets,
    ) -> None:
        self._services = services
        self._control = services.control
        self._presentation = presentation
        self._hash = TokenHasher(services.settings.master_key).hash
        self._exchange = Exchange(session)
        self._telemetry = telemetry
        self._budgets = budgets

    async def handle(self, provider: Provider, request: web.Request) -> web.StreamResponse:
        request_id = request[REQUEST_ID]
        try:
            return await self._decide(provider, request, request_id)
        except Refused as error:
            code = error.code or CODES[error.kind]
            shaped = shapes.failed(provider.dialect, error.status, code, error.message, request_id, dict(error.headers))
            note(request, fault=code)
            return own_answer(shaped)

    async def _decide(self, provider: Provider, request: web.Request, request_id: str) -> web.StreamResponse:
        target = _target(provider, request)
        caller = await self._caller(request)
        is_strict = self._control.view.policy(caller.workspace).budget_mode is BudgetMode.STRICT
        if target.kind is Kind.UNREADABLE:
            refuse_unreadable(is_strict=is_strict, is_allowed=self._services.settings.edge_forward_unreadable)
        is_counted = target.kind is not Kind.FREE
        headers = _headers_to_send(request)
        held = await hold(request, whole=is_strict and is_counted)
        call = ProxiedCall(
            id=request_id,
            provider=provider,
            target=target,
            caller=caller,
            asked=await self._inspected(held, target, provider),
            labels=heads.labels(request.headers),
            retries=heads.retry_count(request.headers),
            headers=headers,
        )
        if not is_counted:
            return await self._pass(request, call, held)
        flag = self._control.view.suspension(caller.workspace, call.ts_ms, call.guarded)
        if flag is not None:
            self._count(call, "blocked")
            return own_answer(
                shapes.blocked(
                    provider.dialect,
                    flag.layer,
                    flag.reason,
                    request_id,
                    ends_ms=flag.expires_ms,
                    now_ms=call.ts_ms,
                )
            )
        if is_strict:
            over = await self._reserve(request, call, held)
            if over is not None:
                return over
        return await self._pass(request, call, held)

    async def _caller(self, request: web.Request) -> Caller:
        """Raises Refused. A gateway that has never read `control` accepts any key."""
        if self._control.ready:
            authenticate = self._services.authenticate
            principal = authenticate.known(request) or await authenticate.find(request)
            require_scope(principal, WRITE_SCOPE)
            if principal.is_limited:
                require_reach(request, principal, WORKSPACE)
            return Caller(principal.workspace, principal.key_id)
        written = request.headers.getall(self._presentation.header, ())
        credential = self._presentation.read(written[0]) if len(written) == 1 else None
        if credential is None or credential.token is None:
            raise Refused(ErrorKind.UNAUTHENTICATED, self._presentation.hint or None)
        return Caller("", key_hash=self._hash(credential.token))

    async def _inspected(self, held: Held, target: ProviderTarget, provider: Provider) -> Inspected:
        if held.coded or held.rest is not None or target.kind is Kind.FREE:
            return opaque(held.body, target)
        ask_usage = self._services.settings.edge_ask_usage
        look = functools.partial(inspect, held.body, target, provider.dialect, ask_usage=ask_usage)
        asked = await asyncio.to_thread(look) if len(held.body) > PARSED_HERE_BYTES else look()
        if target.kind is Kind.UNREADABLE:  # its members are not those of which fingerprints are made
            return asked._replace(fingerprint=opaque(held.body, target).fingerprint)
        return self._exchange.willing(provider, asked)

    async def _reserve(self, request: web.Request, call: ProxiedCall, held: Held) -> web.Response | None:
        """None: the call may be made. Raises Refused: 503 without a decision, 400 and 415 if it has no price."""
        caller = caller_context(request, call.caller.key_id, route="edge")
        cost_nano = await worst_cost_of(held, call.target, call.provider.dialect)
        wanted = self._budgets.wanted(call.id, cost_nano, call.asked, call.caller.key_id, call.labels)
        try:
            await self._budgets.reserve(call.caller.workspace, caller, wanted)
        except OverBudget as over:
            self._count(call, "over_budget")
            shaped = shapes.blocked(
                call.provider.dialect, Layer.FINANCIAL_LIMITS, str(over), call.id, ends_ms=None, now_ms=call.ts_ms
            )
            return own_answer(shaped)
        except Refused:
            self._count(call, "budget_unavailable")
            raise
        call.reservation = wanted.id
        return None

    async def _pass(self, request: web.Request, call: ProxiedCall, held: Held) -> web.StreamResponse:
        this = asyncio.current_task()
        assert this is not None
        metrics.EDGE_OPEN.inc()
        outcome = "left"
        try:
            when_client_leaves(request, this.cancel)
            if request.transport is None:  # it left while its body was read or its budget asked
                raise asyncio.CancelledError
            response = await self._exchange.make(request, call, held)
            outcome = _outcome(call)
            return response
        finally:
            when_client_leaves(request, None)
            metrics.EDGE_OPEN.dec()
            self._count(call, outcome)
            if call.target.kind is not Kind.FREE:
                self._tell(call)

    def _tell(self, call: ProxiedCall) -> None:
        made = call.model_call()
        if call.reservation:
            self._telemetry.settled(call.caller, Settle(id=call.reservation, call=made))
        else:
            self._telemetry.call_made(call.caller, made)

    @staticmethod
    def _count(call: ProxiedCall, outcome: str) -> None:
        _calls(call.provider.name, outcome).inc()


def _target(provider: Provider, request: web.Request) -> ProviderTarget:
    """Raises Refused (404, 405)."""
    path = request.rel_url.raw_path.removeprefix(f"/{provider.name}")
    targets = provider.targets(path)
    if not targets:
        raise Refused(ErrorKind.NOT_FOUND, f"The proxy does not forward {provider.name}'s {path[:200]}.")
    target = targets.get(request.method)
    if target is None:
        raise Refused(ErrorKind.METHOD_NOT_ALLOWED, headers={hdrs.ALLOW: ", ".join(sorted(targets))})
    return target


def _headers_to_send(request: web.Request) -> CIMultiDict[str]:
    """The headers that are forwarded. Raises Refused for bytes that can't be sent unchanged."""
    headers = heads.request_headers(request.headers.items(), request.headers.getall(hdrs.CONNECTION, ()))
    name = heads.unsendable(headers)
    if name is not None:
        raise UNSENDABLE.refused(f"The header {name} {UNSENDABLE.message}")
    return headers


def _outcome(call: ProxiedCall) -> str:
    if not call.answered:
        return "failed"
    return "uncounted" if call.target.kind is Kind.FREE else "forwarded"
