"""`audit`: each record is one row of the audit log. Pure."""

from processors.projection.changes import Changes, LogRecord, key_text, plain_text
from schemas.read_model import AuditRow, audit_log
from schemas.records import Audit


def apply(changes: Changes, record: LogRecord) -> None:
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
    changes.rows[audit_log].append(row)
