"""Records of `decisions` and `outcomes` for tests of projection and of the read model, each with any field changed."""

from typing import Any, NamedTuple

from schemas.entities import State, Stream
from schemas.records import Audit, Decision, Outcome
from schemas.topics import Topic, stream_topic

WORKSPACE = "ws_4F9KQ2C7Z1"
RECEIVED_MS = 1_779_114_131_482  # 2026-05-18T14:22:11.482Z
TOPIC = stream_topic(WORKSPACE, "live", "orders")


class ProjectionInput(NamedTuple):
    """As much of a Kafka record as projection looks at."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    key: bytes | None = None


def event_id(number: int) -> str:
    return f"evt_{number:026d}"


def delivery_id(number: int) -> str:
    return f"dlv_{number:026d}"


def a_decision(number: int = 1, **changes: Any) -> Decision:
    """Event `number` of stream orders, admitted with one route."""
    fields: dict[str, Any] = {
        "outcome": "admitted",
        "topic": TOPIC,
        "topic_id": "topic-1",
        "partition": 3,
        "offset": number,
        "received_ms": RECEIVED_MS,
        "event_id": event_id(number),
        "type": "order.fulfilled",
        "occurred_at": "2026-05-18T16:22:11+02:00",
        "data_bytes": 120,
        "routes": ["wf_one"],
    }
    return Decision(**fields | changes)


def an_outcome(number: int = 1, **changes: Any) -> Outcome:
    """The first attempt of event `number`, delivered to wf_one."""
    fields: dict[str, Any] = {
        "delivery_id": delivery_id(number),
        "event_id": event_id(number),
        "workspace": WORKSPACE,
        "environment": "live",
        "stream": "orders",
        "workflow_id": "wf_one",
        "received_ms": RECEIVED_MS,
        "attempt": 1,
        "status": "delivered",
        "started_ms": RECEIVED_MS + 10,
        "completed_ms": RECEIVED_MS + 25,
        "http_status": 200,
    }
    return Outcome(**fields | changes)


def decided(*decisions: Decision, partition: int = 3, first_offset: int = 0) -> list[ProjectionInput]:
    """These decisions as they stand on one partition of `decisions`."""
    return _on(Topic.DECISIONS, [decision.encode() for decision in decisions], partition, first_offset)


def attempted(*outcomes: Outcome, partition: int = 5, first_offset: int = 0) -> list[ProjectionInput]:
    return _on(Topic.OUTCOMES, [outcome.encode() for outcome in outcomes], partition, first_offset)


def an_audit(number: int = 1, **changes: Any) -> Audit:
    """A stream created by a key."""
    fields: dict[str, Any] = {
        "id": f"aud_{number:026d}",
        "workspace": WORKSPACE,
        "environment": "live",
        "actor": "key_1",
        "action": "stream.create",
        "route": "POST /v1/event-streams",
        "resource": f"stream/stm_{number}",
        "at_ms": RECEIVED_MS + number,
        "outcome": "done",
        "request_id": f"req_{number}",
        "address": "203.0.113.7",
    }
    return Audit(**fields | changes)


def audited(*audits: Audit, partition: int = 2, first_offset: int = 0) -> list[ProjectionInput]:
    return _on(Topic.AUDIT, [audit.encode() for audit in audits], partition, first_offset)


def a_stream(number: int = 1, **changes: Any) -> Stream:
    fields: dict[str, Any] = {
        "id": f"stm_{number}",
        "workspace": WORKSPACE,
        "created_ms": RECEIVED_MS,
        "environment": "live",
        "name": f"stream-{number}",
    }
    return Stream(**fields | changes)


def controlled(*states: State | bytes, partition: int = 1, first_offset: int = 0) -> list[ProjectionInput]:
    """These entities as they stand on one partition of `control`; bytes are the key of one that is gone."""
    keyed = [(state, None) if isinstance(state, bytes) else _keyed(state) for state in states]
    return [
        ProjectionInput(Topic.CONTROL, partition, first_offset + place, value, key)
        for place, (key, value) in enumerate(keyed)
    ]


def _keyed(state: State) -> tuple[bytes, bytes]:
    entity = state.to_entity()
    return entity.key, entity.encode()


def _on(topic: Topic, values: list[bytes], partition: int, first_offset: int) -> list[ProjectionInput]:
    return [ProjectionInput(topic, partition, first_offset + place, value) for place, value in enumerate(values)]
