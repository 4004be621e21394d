"""`audit`: each record is one row of the audit log; what a guardrail found is one of the breaches ledger too."""

import msgspec

from processors.projection.changes import Changes, ProjectedRecord, json_text, key_text, plain_text
from schemas.guardrail_breaches import NOTICE, TRIP, decode_breach
from schemas.read_model import AuditRow, BreachRow, audit_log, guardrail_breaches
from schemas.records import Audit


def apply(changes: Changes, record: ProjectedRecord) -> None:
    audit = Audit.decode(record.value)
    about = (audit.actor, audit.action, audit.route, audit.resource, audit.outcome, audit.request_id, audit.address)
    row = AuditRow(
        key_text(audit.workspace),
        key_text(audit.id),
        plain_text(audit.environment),
        record.offset,
        audit.at_ms,
        *map(plain_text, about),
    )
    breach = _breach(audit, record.offset) if audit.action in (TRIP, NOTICE) else None
    changes.rows[audit_log].append(row)
    if breach is not None:
        changes.rows[guardrail_breaches].append(breach)


def _breach(audit: Audit, offset: int) -> BreachRow:
    """Raises ValueError."""
    try:
        breach = decode_breach(audit.details)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no breach: {error}") from error
    texts = (
        *(breach.layer, breach.mode, audit.outcome, breach.reason, breach.scope, breach.scope_id),
        *(breach.key_id, breach.session_id, breach.fingerprint),
        *(json_text(msgspec.json.encode(breach.calls)) or "", audit.request_id),
    )
    found = (breach.observed, breach.threshold)
    owner = (key_text(audit.workspace), key_text(audit.id))
    return BreachRow(*owner, offset, audit.at_ms, *found, *map(plain_text, map(str, texts)))
