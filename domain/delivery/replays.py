"""What a replay sends: the deliveries of one event again, under the replay's number.

The event keeps its id, its time and its bytes. Each delivery's id follows from the admission, the route and the
replay's number, so that work which is done twice causes the same deliveries, which delivery knows already.
"""

from typing import NamedTuple

from domain.delivery.delivery_ids import delivery_id
from schemas.entities import Replay
from schemas.log_records import SourceRecord
from schemas.records import Delivery


class Replayable(NamedTuple):
    """An admitted event as the read model has it: its own routes, and the position of its record."""

    event_id: str
    stream: str
    received_ms: int
    routes: tuple[str, ...]
    topic: str
    topic_id: str
    partition: int
    offset: int


def replay_deliveries(replay: Replay, event: Replayable, body: bytes) -> list[Delivery]:
    """`body`: the event's Avro without its header, as admission hands it on."""
    source = SourceRecord(event.topic, event.topic_id, event.partition, event.offset)
    return [
        Delivery(
            delivery_id=delivery_id(source, event.received_ms, workflow_id, replay.number),
            event_id=event.event_id,
            workspace=replay.workspace,
            environment=replay.environment,
            stream=event.stream,
            workflow_id=workflow_id,
            received_ms=event.received_ms,
            event=body,
            replay=replay.number,
            routes=len(event.routes) if workflow_id in event.routes else 0,
        )
        for workflow_id in (replay.workflows or event.routes)
    ]
