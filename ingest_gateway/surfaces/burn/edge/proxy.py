"""The edge proxy: one call of a model, from its caller to its provider and back, watched and, if need be, stopped.

In this order: path, AtlasBurn key, body (held up to a bound), kill flags, strict budget, provider. What comes back goes
on piece by piece, unchanged; telemetry follows the answer. A client that leaves ends the provider's call at once.

*Fails open* (Law 4, B-041): nothing here waits for the log but a strict budget, which its organization chose. A gateway
that has never read `control` knows no key: it forwards what presents one and keeps the calls as unattributed.
"""

import asyncio
import logging
from functools import cache
from typing import cast

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict

from ingest_gateway import metrics
from ingest_gateway.http.addresses import address_of
from ingest_gateway.http.connection import Connection
from ingest_gateway.http.faults import FaultKind, Refused
from ingest_gateway.http.guard import REQUEST_ID, SERVER_NAME
from ingest_gateway.http.request_log import note
from ingest_gateway.identity.authentication import require_scope
from ingest_gateway.identity.credentials import Presentation
from ingest_gateway.log.telemetry import Teller
from ingest_gateway.services import Services
from ingest_gateway.surfaces.burn.edge import heads, shapes
from ingest_gateway.surfaces.burn.edge.bodies import Held, hold, in_pieces
from ingest_gateway.surfaces.burn.edge.budget import Budgets, OverBudget
from ingest_gateway.surfaces.burn.edge.calls import BAD_GATEWAY, GATEWAY_TIMEOUT, ProxiedCall
from ingest_gateway.surfaces.burn.edge.inspection import Inspected, inspect, opaque
from ingest_gateway.surfaces.burn.edge.providers import Provider, Target
from ingest_gateway.surfaces.burn.edge.shapes import Shaped
from ingest_gateway.surfaces.burn.edge.telemetry import Caller, TelemetryOut
from ingest_gateway.surfaces.burn.edge.upstream import url_of
from ingest_gateway.surfaces.burn.faults import CODES
from ingest_gateway.surfaces.reach import WORKSPACE, require_reach
from operations.logs import event
from schemas.burn import Settle
from schemas.guardrail_policy import BudgetMode, Layer
from schemas.tokens import TokenHasher

log = logging.getLogger("atlas.edge")
WRITE_SCOPE = "burn:write"
_calls = cache(metrics.EDGE_CALLS.labels)
OUTCOMES = ("forwarded", "blocked", "over_budget", "budget_unavailable", "failed", "left")
IN_ONE_PIECE_BYTES = 64 * 1024
INSPECTED_HERE_BYTES = 128 * 1024  # a longer body is parsed in a thread: others need not wait


class EdgeProxy:
    """`handle` is the handler of all providers' routes."""

    def __init__(
        self,
        services: Services,
        presentation: Presentation,
        session: aiohttp.ClientSession,
        telemetry: TelemetryOut,
        budgets: Budgets,
    ) -> None:
        self._services = services
        self._control = services.control
        self._presentation = presentation
        self._hash = TokenHasher(services.settings.master_key).hash
        self._session = session
        self._telemetry = telemetry
        self._budgets = budgets

    async def handle(self, provider: Provider, request: web.Request) -> web.StreamResponse:
        request_id = request[REQUEST_ID]
        try:
            return await self._decide(provider, request, request_id)
        except Refused as fault:
            code = fault.code or CODES[fault.kind]
            shaped = shapes.failed(provider.dialect, fault.status, code, fault.message, request_id, dict(fault.headers))
            note(request, fault=code)
            return _own_answer(shaped)

    async def _decide(self, provider: Provider, request: web.Request, request_id: str) -> web.StreamResponse:
        target = _target(provider, request)
        caller = await self._caller(request)
        held = await hold(request)
        call = ProxiedCall(
            id=request_id,
            provider=provider,
            target=target,
            caller=caller,
            asked=await _inspected(held, target, provider),
            labels=heads.labels(request.headers),
            retries=heads.retry_count(request.headers),
        )
        flag = self._control.view.suspension(caller.workspace, call.ts_ms, call.guarded)
        if flag is not None:
            self._count(call, "blocked")
            return _own_answer(
                shapes.blocked(
                    provider.dialect,
                    flag.layer,
                    flag.reason,
                    request_id,
                    ends_ms=flag.expires_ms,
                    now_ms=call.ts_ms,
                )
            )
        if self._control.view.policy(caller.workspace).budget_mode is BudgetMode.STRICT:
            over = await self._reserve(request, call)
            if over is not None:
                return over
        return await self._pass(request, call, held)

    async def _caller(self, request: web.Request) -> Caller:
        """Raises Refused. Of a gateway that has never read `control`: whoever presents a key at all."""
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
            raise Refused(FaultKind.UNAUTHENTICATED, self._presentation.hint or None)
        return Caller("", key_hash=self._hash(credential.token))

    async def _reserve(self, request: web.Request, call: ProxiedCall) -> web.Response | None:
        """None: the call may be made. Raises Refused (503) where nobody decides."""
        teller = Teller(call.caller.workspace, call.caller.key_id, "edge", call.id, address_of(request))
        wanted = self._budgets.wanted(call.id, call.asked, call.caller.key_id, call.labels)
        try:
            await self._budgets.reserve(teller, wanted)
        except OverBudget as over:
            self._count(call, "over_budget")
            shaped = shapes.blocked(
                call.provider.dialect, Layer.FINANCIAL_LIMITS, str(over), call.id, ends_ms=None, now_ms=call.ts_ms
            )
            return _own_answer(shaped)
        except Refused:
            self._count(call, "budget_unavailable")
            raise
        call.reservation = wanted.id
        return None

    async def _pass(self, request: web.Request, call: ProxiedCall, held: Held) -> web.StreamResponse:
        connection = cast(Connection, request.protocol)
        this = asyncio.current_task()
        assert this is not None
        metrics.EDGE_OPEN.inc()
        outcome = "left"
        try:
            connection.watch(this.cancel)
            if request.transport is None:  # it left while its body was read or its budget asked
                raise asyncio.CancelledError
            response = await self._exchange(request, call, held)
            outcome = "forwarded" if call.answered else "failed"
            return response
        finally:
            connection.watch(None)
            metrics.EDGE_OPEN.dec()
            self._count(call, outcome)
            self._tell(call)

    async def _exchange(self, request: web.Request, call: ProxiedCall, held: Held) -> web.StreamResponse:
        begun: list[web.StreamResponse] = []
        length = _length_of_pieces(request, call.asked, held)
        try:
            async with self._session.post(
                url_of(call.target.url, request.rel_url.raw_query_string),
                data=call.asked.body if length is None else in_pieces(call.asked.body, held.rest),
                headers=_sent_headers(request, length),
                allow_redirects=False,
            ) as upstream:
                try:
                    return await _answer(request, call, upstream, begun)
                except BaseException:
                    upstream.close()
                    raise
        except TimeoutError:
            return self._no_answer(request, call, begun, GATEWAY_TIMEOUT, "upstream_timeout", "did not answer in time")
        except (aiohttp.ClientError, ValueError) as error:
            if isinstance(error.__cause__, Refused):  # the caller's own body broke off
                raise error.__cause__ from None
            event(log, "edge.upstream_failed", logging.WARNING, provider=call.provider.name, error=type(error).__name__)
            return self._no_answer(request, call, begun, BAD_GATEWAY, "upstream_unreachable", "could not be reached")

    def _no_answer(
        self,
        request: web.Request,
        call: ProxiedCall,
        begun: list[web.StreamResponse],
        status: int,
        code: str,
        what: str,
    ) -> web.StreamResponse:
        """An answer that has begun is cut short, so that nobody takes it for whole."""
        if begun:
            if request.transport is not None:
                request.transport.close()
            return begun[0]
        call.status = status
        message = f"{call.provider.name} {what}; nothing is known of what became of the call."
        return _own_answer(shapes.failed(call.provider.dialect, status, code, message, call.id))

    def _tell(self, call: ProxiedCall) -> None:
        told = call.told()
        if call.reservation:
            self._telemetry.settled(call.caller, Settle(id=call.reservation, call=told))
        else:
            self._telemetry.call_made(call.caller, told)

    @staticmethod
    def _count(call: ProxiedCall, outcome: str) -> None:
        _calls(call.provider.name, outcome).inc()


async def _answer(
    request: web.Request, call: ProxiedCall, upstream: aiohttp.ClientResponse, begun: list[web.StreamResponse]
) -> web.StreamResponse:
    """The provider's answer, as it comes. A short one goes in one piece."""
    headers = heads.answer_headers(upstream.headers.items(), upstream.headers.getall(hdrs.CONNECTION, ()))
    headers["AtlasBurn-Request-Id"] = call.id
    headers.setdefault(hdrs.SERVER, SERVER_NAME)
    call.begin_answer(upstream.status, upstream.content_type, hdrs.CONTENT_ENCODING in headers)
    reader, length = call.reader, upstream.content_length
    if length is not None and length <= IN_ONE_PIECE_BYTES:
        body = await upstream.read()
        whole = web.Response(status=upstream.status, reason=upstream.reason, headers=headers, body=body)
        begun.append(whole)
        await whole.prepare(request)
        await whole.write_eof()
        if reader is not None:
            reader.feed(body)
        return whole
    response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=headers)
    response.content_length = length
    begun.append(response)
    await response.prepare(request)
    async for piece in upstream.content.iter_any():
        await response.write(piece)
        if reader is not None:
            reader.feed(piece)
    await response.write_eof()
    return response


def _target(provider: Provider, request: web.Request) -> Target:
    """Raises Refused (404, 405)."""
    path = request.rel_url.raw_path.removeprefix(f"/{provider.name}")
    target = provider.target(path)
    if target is None:
        raise Refused(FaultKind.NOT_FOUND, f"The proxy does not forward {provider.name}'s {path[:200]}.")
    if request.method != hdrs.METH_POST:
        raise Refused(FaultKind.METHOD_NOT_ALLOWED, headers={hdrs.ALLOW: hdrs.METH_POST})
    return target


async def _inspected(held: Held, target: Target, provider: Provider) -> Inspected:
    if held.coded or held.rest is not None:
        return opaque(held.body, target)
    if len(held.body) > INSPECTED_HERE_BYTES:
        return await asyncio.to_thread(inspect, held.body, target, provider.dialect)
    return inspect(held.body, target, provider.dialect)


def _length_of_pieces(request: web.Request, asked: Inspected, held: Held) -> int | None:
    """Of a body that is sent in pieces, -1 where nobody knows it; None: it is sent as one."""
    if held.rest is not None:
        return -1 if request.content_length is None else request.content_length
    return len(asked.body) if len(asked.body) > IN_ONE_PIECE_BYTES else None


def _sent_headers(request: web.Request, length: int | None) -> CIMultiDict[str]:
    """A body in pieces goes with its length where it is known, else in chunks."""
    headers = heads.request_headers(request.headers.items(), request.headers.getall(hdrs.CONNECTION, ()))
    if length is not None and length >= 0:
        headers[hdrs.CONTENT_LENGTH] = str(length)
    return headers


def _own_answer(shaped: Shaped) -> web.Response:
    headers = dict(shaped.headers)
    return web.Response(status=shaped.status, body=shaped.body, headers=headers, content_type="application/json")
