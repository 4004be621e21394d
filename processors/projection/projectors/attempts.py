"""`outcomes`: each attempt of a delivery of an event is one row. Pure; a hot path: rows are put together in one go, and
many records are taken together (columns.py); `apply` says the same of each.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from domain.delivery.webhooks import DeliveryKind
from processors.projection.changes import KEY_CHARACTERS_MAX, Changes, ProjectedRecord, key_text, plain_text
from processors.projection.columns import ByColumns
from processors.projection.projectors import webhook_deliveries
from schemas.avro_columns import Columns
from schemas.avro_reader import strings_at
from schemas.codec import OUTCOME
from schemas.ids import WORK_WEBHOOK
from schemas.read_model import attempts

STATUSES = frozenset({"in_progress", "delivered", "retry_scheduled", "exhausted", "disabled"})
_WEBHOOK = str(DeliveryKind.WEBHOOK)
_EVENT = str(DeliveryKind.EVENT)


def apply(changes: Changes, record: ProjectedRecord) -> None:
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


def _usual(columns: Columns) -> list[bool]:
    """Attempts of events' own deliveries, but for those of the work surface's webhooks."""
    owners = map(_owner, columns.encoded("workspace", "workflow_id"))
    parts = (columns.texts(name) for name in ("kind", "status", "event_id", "delivery_id"))
    return [
        owner is not None
        and kind == _EVENT
        and status in STATUSES
        and "" not in (event_id, delivery_id)
        and len(event_id) + len(delivery_id) + owner[3] <= KEY_CHARACTERS_MAX
        for owner, kind, status, event_id, delivery_id in zip(owners, *parts, strict=True)
    ]


def _add(changes: Changes, columns: Columns, records: Sequence[ProjectedRecord]) -> None:
    owners: list[Any] = list(map(_owner, columns.encoded("workspace", "workflow_id")))
    workspaces, environments, workflows, _ = zip(*owners, strict=True)
    trouble: list[Sequence[Any]] = [[None] * len(records)] * 4
    if not columns.all_null("error_code", "error_message", "next_attempt_ms", "response_excerpt"):
        codes, messages = columns.maybe_texts("error_code"), columns.maybe_texts("error_message")
        trouble = [codes, messages, columns.maybe_numbers("next_attempt_ms"), columns.maybe_bytes("response_excerpt")]
    # fmt: off
    changes.rows[attempts] += zip(
        workspaces, environments, columns.texts("event_id"), columns.texts("delivery_id"), columns.numbers("attempt"),
        workflows, columns.numbers("replay"), columns.texts("status"), columns.numbers("received_ms"),
        columns.numbers("started_ms"), columns.numbers("completed_ms"), columns.maybe_numbers("http_status"), *trouble,
        [record.offset for record in records],
        strict=True,
    )
    # fmt: on


BY_COLUMNS = ByColumns(_usual, _add)


@lru_cache(maxsize=4_096)
def _owner(encoded: str) -> tuple[str, str, str, int] | None:
    """Of the fields `workspace` to `workflow_id` as they are in the record, as Latin-1: workspace, environment,
    workflow, and how long they are; None where the record is none of the usual.
    """
    (workspace, environment, _stream, workflow_id), _ = strings_at(b"\x08" + encoded.encode("latin-1") + b"\x00", 0)
    names = workspace, environment, workflow_id
    if "" in names or workflow_id.startswith(WORK_WEBHOOK):
        return None
    return *names, sum(map(len, names))
