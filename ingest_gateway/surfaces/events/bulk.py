"""The usual events of a batch, published together: one pass for each step, one wait, and answers written in bulk.

What is usual says domain/events/bulk.py. Each event has the answer that it would have alone.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import orjson

from domain.events.bulk import encode_events, event_ids, payload_hashes
from domain.events.rules import SURFACE, EventFields
from domain.security.principals import Principal
from ingest_gateway.http.errors import Refused
from ingest_gateway.log.event_log import LogUnavailable
from ingest_gateway.log.publishing import EventPublisher, SentBatch
from ingest_gateway.surfaces.shared.errors import NOT_CONFIRMED
from ingest_gateway.surfaces.shared.publishing import refusal_of
from schemas.entities import Stream
from schemas.times import rfc3339

Refuse = Callable[[int, Refused], bytes]


class SentUsualEvents:
    """Events of one stream on their way to the log, and what their answers repeat."""

    def __init__(self, stream: Stream, events: Sequence[EventFields], sent: SentBatch) -> None:
        self.sent = sent
        self._types = [event.type for event in events]
        self._times = [event.occurred_at for event in events]
        self._before_type = b'","object":"event","stream":%b,"type":"' % orjson.dumps(stream.name)
        routes = [{"workflow_id": route, "status": "queued"} for route in stream.default_routes]
        self._after_time = b'","idempotency_key":null,"routes":%b}}' % orjson.dumps(routes)

    def __len__(self) -> int:
        return len(self._types)

    def results(self, first: int, begin: int, end: int, refuse: Refuse) -> tuple[list[bytes], int]:
        """The results of events `begin` to `end`, and how many of them were accepted. `first`: the index of event 0 in
        the request.
        """
        appended, ids = self.sent.appended, self.sent.event_ids
        results = []
        refused = 0
        for number in range(begin, end):
            stored_ms = appended.timestamp_ms(number)
            if stored_ms is None:
                results.append(refuse(first + number, refusal_of(self.sent, number)))
                refused += 1
                continue
            results.append(
                b'{"index":%d,"status":202,"event":{"id":"%b%b%b","status":"accepted","received_at":"%b","occurred_at":"%b%b'
                % (
                    first + number,
                    ids[number].encode(),
                    self._before_type,
                    self._types[number].encode(),
                    _time(stored_ms),
                    self._times[number].encode(),
                    self._after_time,
                )
            )
        return results, end - begin - refused


def send_usual_events(
    publisher: EventPublisher, principal: Principal, stream: Stream, events: Sequence[EventFields]
) -> SentUsualEvents:
    """Queues events of one stream for the broker. Raises Refused: unavailable, with nothing stored."""
    hashes = payload_hashes(events)
    ids = event_ids(principal.workspace, principal.environment, SURFACE, events, hashes)
    try:
        sent = publisher.send_all(stream.topic, ids, encode_events(events, ids), hashes)
    except LogUnavailable as error:
        raise NOT_CONFIRMED.refused() from error
    return SentUsualEvents(stream, events, sent)


@lru_cache(maxsize=1_024)
def _time(time_ms: int) -> bytes:
    return rfc3339(time_ms).encode()
