"""Deliveries to the work surface's webhooks, newest first, and the positions of their events on the log."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, and_, select

from schemas.log_records import AdmittedRecord
from schemas.read_model import events, webhook_deliveries

_EVENT = and_(
    events.c.workspace == webhook_deliveries.c.workspace,
    events.c.environment == webhook_deliveries.c.environment,
    events.c.id == webhook_deliveries.c.event_id,
)


class WebhookScope(NamedTuple):
    workspace: str
    environment: str
    webhook_id: str


class DeliveryPage(NamedTuple):
    """`following`: the id to go on behind; None at the end."""

    rows: list[Row[Any]]
    following: str | None


def deliveries_page(
    connection: Connection, scope: WebhookScope, statuses: tuple[str, ...], before: str | None, limit: int
) -> DeliveryPage:
    """`statuses` empty: any."""
    question = _deliveries(scope).order_by(webhook_deliveries.c.delivery_id.desc()).limit(limit + 1)
    if before is not None:
        question = question.where(webhook_deliveries.c.delivery_id < before)
    if statuses:
        question = question.where(webhook_deliveries.c.status.in_(statuses))
    rows = list(connection.execute(question).fetchall())
    return DeliveryPage(rows[:limit], rows[limit - 1].delivery_id if len(rows) > limit else None)


def delivery(connection: Connection, scope: WebhookScope, delivery_id: str) -> Row[Any] | None:
    return connection.execute(_deliveries(scope).where(webhook_deliveries.c.delivery_id == delivery_id)).first()


def source_in(row: Row[Any]) -> AdmittedRecord | None:
    """Of the event in a delivery; None where the read model has it no longer, or not yet."""
    if row.source_topic is None:
        return None
    source = row.source_topic, row.source_topic_id, row.source_partition, row.source_offset
    return AdmittedRecord(*source, row.event_received_ms)


def _deliveries(scope: WebhookScope) -> Select[Any]:
    return (
        select(
            *webhook_deliveries.c,
            events.c.type.label("event_type"),
            events.c.received_ms.label("event_received_ms"),
            *(events.c.source_topic, events.c.source_topic_id, events.c.source_partition, events.c.source_offset),
        )
        .select_from(webhook_deliveries.outerjoin(events, _EVENT))
        .where(
            webhook_deliveries.c.workspace == scope.workspace,
            webhook_deliveries.c.environment == scope.environment,
            webhook_deliveries.c.webhook_id == scope.webhook_id,
        )
    )
