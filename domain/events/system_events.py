"""Events that Atlas itself writes on a workspace's system streams, signed as a gateway's are.

The id follows from the content, so a command that is read again writes the same event again, and admission takes it for
a repeat.
"""

from typing import NamedTuple

import msgspec

from domain.events.avro import encode_event
from domain.events.rules import EventFields, event_id, payload_hash
from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from schemas.records import Entity
from schemas.times import rfc3339
from schemas.topics import stream_topic


class SystemEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`data`: a JSON object; `actor`: another, if any. `stream` names the surface as well."""

    workspace: str
    environment: str
    stream: str
    type: str
    occurred_ms: int
    data: bytes
    actor: bytes | None = None


class SignedRecord(NamedTuple):
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def about(item: Entity, stream: str, kind: str, at_ms: int, data: bytes) -> SystemEvent:
    """An event of what happened to an entity."""
    return SystemEvent(
        workspace=item.workspace,
        environment=item.environment,
        stream=stream,
        type=kind,
        occurred_ms=at_ms,
        data=data,
    )


def signed_record(event: SystemEvent, signer: GatewaySigner) -> SignedRecord:
    """As it goes to the stream's topic; the key says the partition (murmur2)."""
    fields = EventFields(
        stream=event.stream,
        type=event.type,
        occurred_at=rfc3339(event.occurred_ms),
        occurred_ms=event.occurred_ms,
        data=event.data,
        actor=event.actor,
    )
    digest = payload_hash(fields)
    identifier = event_id(event.workspace, event.environment, event.stream, fields, digest)
    topic = stream_topic(event.workspace, event.environment, event.stream)
    value = encode_event(fields, identifier)
    return SignedRecord(topic, identifier.encode(), value, [(GATEWAY_SIGNATURE, signer.sign(topic, digest, value))])
