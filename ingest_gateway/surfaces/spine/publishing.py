"""One event onto the spine's log, and what is answered: the path that single events and batches share.

The answer comes with admission's verdict, which says how many workflows and subscriptions the event goes to. A verdict
that is late makes an answer with the count of this gateway's own view and `Atlas-Decision: pending`: the event is
stored. What the broker did not confirm in time is a 503; under an Idempotency-Key sending it again is safe.
"""

import asyncio
from typing import Any, NamedTuple

from aiohttp import web

from domain.events.spine_events import STREAM, SpineEvent, digest_of, encode_spine_event, event_id_of, is_own_org
from domain.security.gateway_signatures import GATEWAY_SIGNATURE
from domain.security.principals import Principal
from ingest_gateway.http.errors import FieldFault
from ingest_gateway.log.event_log import Appended, LogBusy, LogUnavailable
from ingest_gateway.log.system_streams import SystemStreams
from ingest_gateway.log.verdicts import Expected, VerdictLate
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.answers import DECISION_PENDING, decision_of
from ingest_gateway.surfaces.shared.errors import BUSY, NOT_CONFIRMED, refused_by
from ingest_gateway.surfaces.spine.errors import DUPLICATE_EVENT, FORBIDDEN_ORG
from ingest_gateway.surfaces.spine.event_types import check_by_catalog
from operations import clock
from operations.random_ids import random_id
from schemas.entities import Stream
from schemas.ids import EVENT, time_of
from schemas.records import Verdict
from schemas.replies import REPLY_HEADER
from schemas.times import rfc3339

SYSTEM_STREAM = web.AppKey("system_stream", SystemStreams)
LEAST_WAIT_SECONDS = 0.001
NOT_READY = "The spine is being made ready for this organization. Please send it again."
OTHER_ORG = "It must be the key's own organization; it may be left out."


class Sent(NamedTuple):
    """An event on its way. `expected`: its verdict."""

    event: SpineEvent
    event_id: str
    appended: asyncio.Future[Appended]
    expected: Expected
    at_seconds: float


class Published(NamedTuple):
    """The document's answer. `appended` is None when only the verdict has confirmed the record. `decision`: `pending`
    without a verdict in time, `replay` for an event that had been sent before.
    """

    view: dict[str, Any]
    appended: Appended | None
    decision: str | None = None


class Publisher:
    """One request's way of publishing, as one principal."""

    def __init__(self, services: Services, principal: Principal, streams: SystemStreams) -> None:
        self._services = services
        self._principal = principal
        self._streams = streams

    async def publish(self, event: SpineEvent, key: str | None) -> Sent:
        """Queues the event for the broker. Raises Refused: what the spine does not take, unavailable."""
        if event.org is not None and not is_own_org(event.org, self._principal.workspace):
            raise FORBIDDEN_ORG.refused(fields=[FieldFault("metadata.orgId", OTHER_ORG)])
        check_by_catalog(self._services, self._principal, event)
        stream = await spine_of(self._streams, self._principal)
        return self._send(stream, event, key)

    async def settle(self, sent: Sent) -> Published:
        """Waits for the answer. Raises Refused: duplicate_event, unavailable."""
        settings = self._services.settings
        appended = await self._confirmed(sent, sent.at_seconds + settings.append_timeout_seconds)
        # An append that is in doubt is certain once its verdict is here; that is not worth a longer wait.
        patience_seconds = settings.verdict_timeout_seconds if appended is not None else 0.0
        left_seconds = sent.at_seconds + patience_seconds - _loop_seconds()
        try:
            verdict = await sent.expected.verdict(max(LEAST_WAIT_SECONDS, left_seconds))
        except VerdictLate:
            if appended is None:
                raise NOT_CONFIRMED.refused() from None
            return Published(_view(sent, sent.event_id, self._triggered(sent)), appended, DECISION_PENDING)
        return Published(_decided(sent, verdict), appended, decision_of(verdict))

    def _send(self, stream: Stream, event: SpineEvent, key: str | None) -> Sent:
        services, principal = self._services, self._principal
        now_ms = clock.now_ms()
        digest = digest_of(event)
        identifier = _event_id(principal, key, digest, now_ms)
        value = encode_spine_event(event, identifier, key, now_ms)
        try:
            expected = services.verdicts.expect()
        except LogBusy:
            raise BUSY.refused() from None
        headers = [
            (GATEWAY_SIGNATURE, services.signer.sign(stream.topic, digest, value)),
            (REPLY_HEADER, expected.reply.encode()),
        ]
        try:
            appended = services.events.append(stream.topic, (key or identifier).encode(), value, headers)
        except (LogBusy, LogUnavailable) as error:
            expected.forget()
            raise (BUSY if isinstance(error, LogBusy) else NOT_CONFIRMED).refused() from error
        return Sent(event, identifier, appended, expected, _loop_seconds())

    async def _confirmed(self, sent: Sent, deadline_seconds: float) -> Appended | None:
        """Where the broker has stored the record; None when it did not say so in time."""
        try:
            async with asyncio.timeout_at(deadline_seconds):
                return await sent.appended
        except (TimeoutError, LogUnavailable):
            return None

    def _triggered(self, sent: Sent) -> int:
        """As this gateway sees it."""
        view, principal = self._services.control.view, self._principal
        stream = self._streams.known(principal.workspace, principal.environment)
        routes = [] if stream is None else stream.default_routes
        return len(routes) + len(view.subscribed(principal.workspace, principal.environment, STREAM, sent.event.type))


async def spine_of(streams: SystemStreams, principal: Principal) -> Stream:
    """The organization's spine, made if this is its first use. Raises Refused: unavailable."""
    try:
        return await streams.ensure(principal.workspace, principal.environment)
    except (LogBusy, LogUnavailable, VerdictLate):
        raise BUSY.refused(NOT_READY) from None


def _decided(sent: Sent, verdict: Verdict) -> dict[str, Any]:
    match verdict.outcome:
        case "admitted" | "replay":
            return _view(sent, verdict.event_id, len(verdict.routes))
        case "conflict":
            raise DUPLICATE_EVENT.refused()
        case _:
            raise refused_by(verdict)


def _view(sent: Sent, event_id: str, triggered: int) -> dict[str, Any]:
    """A replay is told what its original was told: an id has the time at which Atlas took the event."""
    return {
        "eventId": event_id,
        "type": sent.event.type,
        "timestamp": rfc3339(time_of(event_id)),
        "status": "published",
        "workflowsTriggered": triggered,
    }


def _loop_seconds() -> float:
    return asyncio.get_running_loop().time()


def _event_id(principal: Principal, key: str | None, digest: bytes, now_ms: int) -> str:
    if key is None:
        return random_id(EVENT, now_ms)
    return event_id_of(principal.workspace, principal.environment, key, digest, now_ms)
