"""Ids of deliveries: they follow from what is delivered where, so that doing it again makes the same one. Pure."""

from schemas.ids import DELIVERY, derived_id
from schemas.log_records import SourceRecord


def replay_delivery_id(source: SourceRecord, target_id: str, number: int) -> str:
    """Of an event that goes once more to a target, under a replay's number."""
    where = f"{source.topic}\0{source.topic_id}\0{source.partition}\0{source.offset}".encode()
    return derived_id(DELIVERY, source.received_ms, where, target_id.encode(), str(number).encode())
