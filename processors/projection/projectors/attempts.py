"""`outcomes`: each attempt of a delivery of an event is one row. Pure."""

from processors.projection.changes import Changes, LogRecord, key_text, plain_text
from schemas.read_model import AttemptRow, attempts
from schemas.records import Outcome
from schemas.webhooks import DeliveryKind

STATUSES = frozenset({"in_progress", "delivered", "retry_scheduled", "exhausted", "disabled"})


def apply(changes: Changes, record: LogRecord) -> None:
    outcome = Outcome.decode(record.value)
    if outcome.status not in STATUSES:
        raise ValueError("the outcome's status is not a known one")
    if outcome.kind == DeliveryKind.WEBHOOK:
        return  # about an event, but none of its routes
    row = AttemptRow(
        key_text(outcome.workspace),
        key_text(outcome.environment),
        key_text(outcome.event_id),
        key_text(outcome.delivery_id),
        outcome.attempt,
        key_text(outcome.workflow_id),
        outcome.replay,
        outcome.status,
        outcome.received_ms,
        outcome.started_ms,
        outcome.completed_ms,
        outcome.http_status,
        None if outcome.error_code is None else plain_text(outcome.error_code),
        None if outcome.error_message is None else plain_text(outcome.error_message),
        outcome.next_attempt_ms,
        outcome.response_excerpt,
        record.offset,
    )
    changes.rows[attempts].append(row)
