"""`outcomes`: each attempt of a delivery of an event is one row. Pure; a hot path: rows are put together in one go."""

from processors.projection.changes import KEY_CHARACTERS_MAX, Changes, LogRecord, key_text, plain_text
from processors.projection.projectors import webhook_deliveries
from schemas.codec import OUTCOME
from schemas.ids import WORK_WEBHOOK
from schemas.read_model import attempts
from schemas.webhooks import DeliveryKind

STATUSES = frozenset({"in_progress", "delivered", "retry_scheduled", "exhausted", "disabled"})
_WEBHOOK = str(DeliveryKind.WEBHOOK)


def apply(changes: Changes, record: LogRecord) -> None:
    # fmt: off
    (
        delivery_id, event_id, workspace, environment, _stream, workflow_id, received_ms, replay, kind, _routes,
        attempt, status, started_ms, completed_ms, http_status, error_code, error_message, next_attempt_ms, excerpt,
    ) = OUTCOME.values(record.value)
    # fmt: on
    if status not in STATUSES:
        raise ValueError("the outcome's status is not a known one")
    if workflow_id.startswith(WORK_WEBHOOK):
        webhook_deliveries.apply(changes, record)
    if kind == _WEBHOOK:
        return  # about an event, but none of its routes
    keys = workspace, environment, event_id, delivery_id, workflow_id
    joined = "".join(keys)
    if len(joined) > KEY_CHARACTERS_MAX or "" in keys or "\x00" in joined:
        workspace, environment, event_id, delivery_id, workflow_id = map(key_text, keys)
    if error_code is not None or error_message is not None:
        error_code, error_message = _shown(error_code), _shown(error_message)
    # fmt: off
    changes.rows[attempts].append((
        workspace, environment, event_id, delivery_id, attempt, workflow_id, replay, status, received_ms, started_ms,
        completed_ms, http_status, error_code, error_message, next_attempt_ms, excerpt, record.offset,
    ))
    # fmt: on


def _shown(text: str | None) -> str | None:
    return None if text is None else plain_text(text)
