"""What is the spine's own about publishing: the organization's stream, event types, and the 201 body.

The answer comes with admission's verdict, whose routes are the workflows and subscriptions that the event goes to
(`workflowsTriggered`; the rule is in domain/admission/subscribers.py). A verdict that is late makes an answer with the
routes that this gateway sees, and `Atlas-Decision: pending`. The wait is in ingest_gateway/log/publishing.py.
"""

from collections.abc import Awaitable
from typing import Any

from aiohttp import web

from domain.admission.subscribers import routes_of
from domain.events.spine_events import SpineEvent, digest_of, encode_spine_event, event_id_of, is_own_org
from domain.security.principals import Principal
from ingest_gateway.http.errors import Refused
from ingest_gateway.log.event_log import LogBusy, LogUnavailable
from ingest_gateway.log.publishing import Confirmed, EventPublisher, SentEvent
from ingest_gateway.log.system_streams import SystemStreams
from ingest_gateway.log.verdicts import VerdictLate
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.errors import BUSY
from ingest_gateway.surfaces.shared.publishing import accepted, send
from ingest_gateway.surfaces.spine.errors import DUPLICATE_EVENT, FORBIDDEN_ORG
from ingest_gateway.surfaces.spine.event_types import check_by_catalog
from operations import clock
from operations.random_ids import random_id
from schemas.entities import Stream
from schemas.errors import FieldError
from schemas.ids import EVENT, time_of
from schemas.records import Verdict
from schemas.times import rfc3339

SYSTEM_STREAM = web.AppKey("system_stream", SystemStreams)
NOT_READY = "The spine is being made ready for this organization. Please send it again."
OTHER_ORG = "It must be the key's own organization; it may be left out."

SentSpineEvent = SentEvent[SpineEvent]


class SpinePublisher:
    """Publishes one request's events, as one principal."""

    def __init__(
        self, services: Services, principal: Principal, streams: SystemStreams, publisher: EventPublisher
    ) -> None:
        self._services = services
        self._principal = principal
        self._streams = streams
        self._publisher = publisher

    async def publish(self, event: SpineEvent, key: str | None) -> SentSpineEvent:
        """Queues the event for the broker. Raises Refused: what the spine does not take, unavailable."""
        if event.org is not None and not is_own_org(event.org, self._principal.workspace):
            raise FORBIDDEN_ORG.refused(fields=[FieldError("metadata.orgId", OTHER_ORG)])
        check_by_catalog(self._services, self._principal, event)
        stream = await spine_of(self._streams, self._principal)
        now_ms, digest = clock.now_ms(), digest_of(event)
        identifier = _event_id(self._principal, key, digest, now_ms)
        value = encode_spine_event(event, identifier, key, now_ms)
        topic = stream.topic
        return send(self._publisher, topic, key or identifier, identifier, value, digest, event, expects_verdict=True)

    def accepted(self, sent: SentSpineEvent) -> Awaitable[Confirmed]:
        """Waits for the answer. Raises Refused: duplicate_event, unavailable."""
        return accepted(self._publisher, sent, _conflict)

    def view_of(self, sent: SentSpineEvent, confirmed: Confirmed) -> dict[str, Any]:
        """The document's answer. A replay has its original's: an event's id holds the time at which Atlas took it."""
        verdict = confirmed.verdict
        event_id = sent.event_id if verdict is None else verdict.event_id
        return {
            "eventId": event_id,
            "type": sent.shown.type,
            "timestamp": rfc3339(time_of(event_id)),
            "status": "published",
            "workflowsTriggered": len(self._routes_now(sent) if verdict is None else verdict.routes),
        }

    def _routes_now(self, sent: SentSpineEvent) -> list[str]:
        """By admission's own rule, in this gateway's view."""
        stream = self._streams.known(self._principal.workspace, self._principal.environment)
        return [] if stream is None else routes_of(self._services.control.view, stream, sent.shown.type)


async def spine_of(streams: SystemStreams, principal: Principal) -> Stream:
    """The organization's spine, created if this is its first use. Raises Refused: unavailable."""
    try:
        return await streams.ensure(principal.workspace, principal.environment)
    except (LogBusy, LogUnavailable, VerdictLate):
        raise BUSY.refused(NOT_READY) from None


def _conflict(_verdict: Verdict) -> Refused:
    return DUPLICATE_EVENT.refused()


def _event_id(principal: Principal, key: str | None, digest: bytes, now_ms: int) -> str:
    if key is None:
        return random_id(EVENT, now_ms)
    return event_id_of(principal.workspace, principal.environment, key, digest, now_ms)
