"""`outcomes` of the work surface's webhooks: each delivery is one row, as its newest attempt left it."""

from processors.projection.changes import Changes, ProjectedRecord, key_text, plain_text
from schemas.read_model import WebhookDeliveryRow, webhook_deliveries
from schemas.records import Outcome


def apply(changes: Changes, record: ProjectedRecord) -> None:
    """Of a record that is readable and goes to such a webhook."""
    outcome = Outcome.decode(record.value)
    row = WebhookDeliveryRow(
        key_text(outcome.workspace),
        key_text(outcome.environment),
        key_text(outcome.workflow_id),
        key_text(outcome.delivery_id),
        key_text(outcome.event_id),
        plain_text(outcome.kind),
        outcome.replay,
        outcome.status,
        outcome.attempt,
        outcome.received_ms,
        outcome.completed_ms,
        outcome.http_status,
        None if outcome.error_code is None else plain_text(outcome.error_code),
        None if outcome.error_message is None else plain_text(outcome.error_message),
        outcome.next_attempt_ms,
        record.offset,
    )
    changes.rows[webhook_deliveries].append(row)
