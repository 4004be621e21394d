"""What follows from a decided record: which records leave, and for whom.

A record of a stream's topic passes three steps: `reading.read` makes it an event or says why it is none,
`idempotency.events.decide` compares the event with its key's entry, and `effects_of` says what that causes:

| decided | decision | verdict | deliveries | dead letter |
|---|---|---|---|---|
| admitted | with the event's fields and routes | to the gateway, if it waits | one for each route | none |
| replay | names the original | the original's answer, if a gateway waits | none: the original's were made | none |
| conflict | names the original | the original's id, if a gateway waits | none | to a direct producer |
| no event | `refused` with a reason | none | none | always |

Every id is derived from the record that made the decision, so a record that is read again causes the same effects. The
decision goes to the partition number of its source record, so that a reader of both needs one partition of each. The
bytes are written by encoding.py; the table entry of a new key is the agent's to store before any of this leaves.
"""

from typing import Any

import msgspec

from domain.admission.encoding import StreamPartition, admission_of, repetition_of, verdict_of
from domain.admission.reading import ReadEvent
from domain.delivery.delivery_ids import delivery_id
from domain.idempotency.events import Admitted, Conflicted, KeyDecision, KeyEntry
from schemas.avro_pieces import NOTHING, bytes_, long, string
from schemas.codec import DELIVERY
from schemas.entities import workflow_entity_id
from schemas.log_records import LogRecord
from schemas.replies import REPLY_HEADER, decode_reply

Message = dict[str, Any]
"""What `Work.produce_many` takes: value and key."""

_EVENT_KIND = string("event")
NO_DELIVERIES: list[Message] = []


class Effects(msgspec.Struct, frozen=True, gc=False):
    """What leaves, and the table's entry with it: all of it or, where it fails, nothing. `verdict`: the partition of
    the waiting gateway, and the value. `conflict`: what the dead letter says, where no gateway waits for the verdict.
    """

    decision: bytes
    verdict: tuple[int, bytes] | None
    deliveries: list[Message]
    conflict: str | None = None


def effects_of(decided: KeyDecision, partition: StreamPartition, record: LogRecord, event: ReadEvent) -> Effects:
    """`record`: as it was first written; `partition`: of its stream."""
    outcome, entry, pieces = decided.outcome, decided.entry, event.pieces
    routes_field = partition.routes_field_of(entry.routes)
    reply = None if event.direct else decode_reply(record.header(REPLY_HEADER))
    verdict = None
    if reply is not None:
        id_field = pieces.id_field if entry.event_id == pieces.event_id else string(entry.event_id)
        value = verdict_of(outcome, partition, reply.correlation, id_field, entry.received_ms, routes_field)
        verdict = reply.partition, value
    if type(decided) is not Admitted:
        decision = repetition_of(outcome, partition, record, event, entry.event_id)
        is_unanswered = event.direct and type(decided) is Conflicted
        return Effects(decision, verdict, NO_DELIVERIES, _conflict_with(entry) if is_unanswered else None)
    decision = admission_of(partition, record, event, routes_field)
    return Effects(decision, verdict, _deliveries(entry, partition, event) if entry.routes else NO_DELIVERIES)


def _conflict_with(original: KeyEntry) -> str:
    """A gateway's caller gets the answer 409; a direct producer can only find this in a dead letter."""
    source = original.source
    return (
        f"its idempotency key stands for the event {original.event_id} with other content ({source.topic}, partition "
        f"{source.partition}, offset {source.offset}); a key holds for 24 hours in the whole workspace and environment"
    )


def _deliveries(entry: KeyEntry, partition: StreamPartition, event: ReadEvent) -> list[Message]:
    rest = NOTHING + long(entry.received_ms) + bytes_(event.pieces.body)  # replay 0, received_ms, event
    rest += _EVENT_KIND + long(len(entry.routes))
    topic = partition.topic
    messages = []
    for workflow_id in entry.routes:
        identifier = delivery_id(entry.source, entry.received_ms, workflow_id)
        event_id = event.pieces.id_field
        head = DELIVERY.prefix + string(identifier) + event_id + partition.owner_field
        value = b"".join((head, string(workflow_id), rest))
        endpoint = workflow_entity_id(topic.workspace, topic.environment, workflow_id)
        messages.append({"value": value, "key": endpoint.encode()})
    return messages
