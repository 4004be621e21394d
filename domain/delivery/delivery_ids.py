"""A delivery's id, from what is delivered where: whoever computes it again gets the same one.

Admission computes it for each route of an event, lifecycle for each target of a replay, control to answer a request for
a replay before lifecycle has begun.
"""

from schemas.ids import DELIVERY, derived_id
from schemas.log_records import SourceRecord


def delivery_id(source: SourceRecord, received_ms: int, target_id: str, replay: int = 0) -> str:
    """`source`, `received_ms`: of the event's admission. `target_id`: the workflow or subscription. `replay`: the
    replay's number, 0 for the delivery that admission causes.
    """
    event = f"{source.topic}\0{source.topic_id}\0{source.partition}\0{source.offset}"
    return derived_id(DELIVERY, received_ms, event.encode(), target_id.encode(), str(replay).encode())
