"""Publishing over HTTP, as every surface answers it: what is refused, and the headers of an accepted event.

How an event gets onto the log is in ingest_gateway/log/publishing.py; what its answer looks like is each surface's own
(`publishing.py` in its package).
"""

from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from ingest_gateway.http.errors import Refused
from ingest_gateway.log.event_log import LogBusy, LogUnavailable
from ingest_gateway.log.publishing import Confirmed, EventPublisher, SentBatch, SentEvent
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.answers import DECISION_HEADER, DECISION_PENDING, DECISION_REPLAY
from ingest_gateway.surfaces.shared.errors import BUSY, NOT_CONFIRMED, refused_by
from ingest_gateway.surfaces.shared.positions import POSITION_HEADER, position_of
from schemas.records import Verdict

LARGE_BYTES = 65_536  # of JSON to read: then the loop serves other requests (J13)
PUBLISHER = web.AppKey("publisher", EventPublisher)
CONFLICT = "conflict"
ADMITTED = frozenset({"admitted", "replay"})

_Shown = TypeVar("_Shown")


def event_publisher(services: Services) -> EventPublisher:
    settings = services.settings
    return EventPublisher(
        services.events,
        services.verdicts,
        services.signer,
        append_seconds=settings.append_timeout_seconds,
        verdict_seconds=settings.verdict_timeout_seconds,
    )


def send(
    publisher: EventPublisher,
    topic: str,
    key: str,
    event_id: str,
    value: bytes,
    payload_hash: bytes,
    shown: _Shown,
    *,
    expects_verdict: bool,
) -> SentEvent[_Shown]:
    """Queues the record for the broker. Raises Refused: unavailable, with nothing stored."""
    try:
        return publisher.send(topic, key, event_id, value, payload_hash, shown, expects_verdict=expects_verdict)
    except LogBusy as error:
        raise BUSY.refused() from error
    except LogUnavailable as error:
        raise NOT_CONFIRMED.refused() from error


async def accepted(
    publisher: EventPublisher, sent: SentEvent[_Shown], conflict: Callable[[Verdict], Refused]
) -> Confirmed:
    """Waits until the event is accepted. Raises Refused: unavailable, what admission refused, and `conflict` of a key
    that was used with another event.
    """
    try:
        confirmed = await publisher.confirmed(sent)
    except LogUnavailable:
        raise NOT_CONFIRMED.refused() from None
    verdict = confirmed.verdict
    if verdict is None or verdict.outcome in ADMITTED:
        return confirmed
    raise conflict(verdict) if verdict.outcome == CONFLICT else refused_by(verdict)


def refusal_of(sent: SentBatch, index: int) -> Refused:
    """Why the event of a batch was not accepted: unavailable, and whether it may be stored all the same."""
    refusal = sent.appended.refusal
    busy = index >= sent.appended.queued and isinstance(refusal, LogBusy)
    return (BUSY if busy else NOT_CONFIRMED).refused()


def decision_of(confirmed: Confirmed) -> str | None:
    """What `Atlas-Decision` says; None for what was admitted, and where no verdict was awaited."""
    verdict = confirmed.verdict
    if verdict is None:
        return DECISION_PENDING if confirmed.is_pending else None
    return DECISION_REPLAY if verdict.outcome == DECISION_REPLAY else None


def add_headers(response: web.Response, confirmed: Confirmed) -> web.Response:
    """`Atlas-Position`, where the broker said it, and `Atlas-Decision`, where there is something to say."""
    appended = confirmed.appended
    if appended is not None:
        response.headers[POSITION_HEADER] = position_of(appended)
    decision = decision_of(confirmed)
    if decision is not None:
        response.headers[DECISION_HEADER] = decision
    return response
