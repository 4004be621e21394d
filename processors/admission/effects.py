"""What a decided record causes: its decision, a delivery a route, the verdict on the request that waits. Pure.

Every id is derived from the record that made the decision, so a record that is read again causes the same once more.
"""

from typing import Any, NamedTuple

from processors.admission.decide import Admitted, Conflicted, Decided, Seen, Source
from processors.admission.reading import ReadEvent
from processors.runtime.batches import Record
from schemas.entities import workflow_entity_id
from schemas.ids import DELIVERY, derived_id
from schemas.records import Decision, Delivery, Verdict
from schemas.replies import REPLY_HEADER, decode_reply
from schemas.topics import StreamTopic, Topic


class Output(NamedTuple):
    """A record to write; with a partition, or else where its key belongs."""

    topic: str
    value: bytes
    key: bytes | None = None
    partition: int | None = None


def outcome_of(decided: Decided) -> str:
    if isinstance(decided, Admitted):
        return "admitted"
    return "conflict" if isinstance(decided, Conflicted) else "replay"


def outputs_of(decided: Decided, record: Record, topic: StreamTopic, source: Source, event: ReadEvent) -> list[Output]:
    """The decision stands on the partition of its source record, so that who reads both needs one partition of each."""
    entry = decided.entry if isinstance(decided, Admitted) else decided.original
    decision = _decision(outcome_of(decided), record, source, event, entry)
    outputs = [Output(Topic.DECISIONS, decision.encode(), partition=record.partition)]
    if isinstance(decided, Admitted):
        outputs += _deliveries(entry, topic, event)
    reply = None if event.direct else decode_reply(record.header(REPLY_HEADER))
    if reply is not None:
        verdict = Verdict(
            correlation=reply.correlation,
            outcome=decision.outcome,
            event_id=entry.event_id,
            received_ms=entry.received_ms,
            routes=entry.routes,
        )
        outputs.append(Output(Topic.VERDICTS, verdict.encode(), partition=reply.partition))
    return outputs


def refusal_of(record: Record, reason: str) -> Output:
    """Of a record that is no event, so that who waits for its place to be decided goes on."""
    decision = Decision(
        outcome="refused",
        reason=reason,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        received_ms=record.timestamp,
    )
    return Output(Topic.DECISIONS, decision.encode(), partition=record.partition)


def _deliveries(entry: Seen, topic: StreamTopic, event: ReadEvent) -> list[Output]:
    source = entry.source
    where = f"{source.topic}\0{source.topic_id}\0{source.partition}\0{source.offset}".encode()
    outputs = []
    for workflow_id in entry.routes:
        delivery = Delivery(
            delivery_id=derived_id(DELIVERY, entry.received_ms, where, workflow_id.encode(), b"0"),
            event_id=entry.event_id,
            workspace=topic.workspace,
            environment=topic.environment,
            stream=topic.stream,
            workflow_id=workflow_id,
            received_ms=entry.received_ms,
            event=event.body,
        )
        endpoint = workflow_entity_id(topic.workspace, topic.environment, workflow_id)
        outputs.append(Output(Topic.DELIVERIES, delivery.encode(), key=endpoint.encode()))
    return outputs


def _decision(outcome: str, record: Record, source: Source, event: ReadEvent, entry: Seen) -> Decision:
    """For an admitted event all that the read model shows but the payload; for others the original's id."""
    fields: dict[str, Any] = event.fields
    admitted = outcome == "admitted"
    return Decision(
        outcome=outcome,
        topic=source.topic,
        topic_id=source.topic_id,
        partition=source.partition,
        offset=source.offset,
        received_ms=record.timestamp,
        event_id=event.event_id,
        original_id="" if admitted else entry.event_id,
        direct=event.direct,
        type=fields["type"] if admitted else "",
        occurred_at=fields["occurred_at"] if admitted else "",
        idempotency_key=event.idempotency_key,
        actor=fields["actor"] if admitted else None,
        metadata=fields["metadata"] if admitted else None,
        data_bytes=len(fields["data"]),
        routes=entry.routes if admitted else [],
    )
