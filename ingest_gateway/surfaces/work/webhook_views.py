"""How webhooks and their deliveries are shown."""

from typing import Any

from sqlalchemy import Row

from domain.delivery.webhooks import DeliveryKind
from schemas.entities import Subscription
from schemas.times import rfc3339
from schemas.work import TEST

STATUSES = {
    "in_progress": "in_progress",
    "delivered": "delivered",
    "retry_scheduled": "retrying",
    "exhausted": "failed",
    "disabled": "disabled",
}
"""What the states of a delivery on the log are called here."""


def webhook_view(webhook: Subscription, secret: str | None = None) -> dict[str, Any]:
    """`secret` is shown in the answer that made it, and never again."""
    view = {
        "id": webhook.id,
        "url": webhook.url,
        "events": webhook.patterns,
        "description": webhook.description,
        "status": "active" if webhook.disabled_ms is None else "disabled",
        "disabledAt": _time(webhook.disabled_ms),
        "createdAt": rfc3339(webhook.created_ms),
    }
    if secret is None:
        return view
    return view | {"secret": secret, "previousSecretUntil": _time(webhook.previous_until_ms)}


def delivery_view(row: Row[Any]) -> dict[str, Any]:
    error = None
    if row.error_code is not None:
        error = {"code": row.error_code, "message": row.error_message or ""}
    view = {
        "id": row.delivery_id,
        "webhookId": row.webhook_id,
        "event": TEST if row.kind == DeliveryKind.WEBHOOK else row.event_type,
        "eventId": row.event_id,
        "status": STATUSES.get(row.status, row.status),
        "attempts": row.attempt,
        "isReplay": row.replay > 0,
        "responseStatus": row.http_status,
        "error": error,
        "createdAt": rfc3339(row.received_ms),
        "lastAttemptAt": rfc3339(row.completed_ms),
        "nextAttemptAt": _time(row.next_attempt_ms),
    }
    if row.error_code is None and row.error_message is not None:  # acknowledged, with something to say
        view["note"] = row.error_message
    return view


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else rfc3339(time_ms)
