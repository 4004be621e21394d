"""`burn.telemetry`: each call of a model is one row, whether it was reported or settles a reservation.

All else on the topic (reservations, flags, policies, questions) changes nothing here.
"""

from processors.projection.changes import Changes, ProjectedRecord, key_text, plain_text
from schemas.read_model import CallRow, model_calls
from schemas.records import Telemetry
from schemas.telemetry import CallSource, ModelCall, ModelCalls, Settle, decode_payload

BIGGEST = 2**63 - 1
EDGE, OTLP, INGEST = "edge:", "otlp:", "ingest:"
OTHERS = (EDGE, OTLP, INGEST)
"""How ids of other sources begin; spans.py writes OTLP's so."""


def apply(changes: Changes, record: ProjectedRecord) -> None:
    telemetry = Telemetry.decode(record.value)
    if telemetry.kind not in (ModelCalls.kind, Settle.kind):
        return
    workspace, record_id = key_text(telemetry.workspace), key_text(telemetry.id)
    payload = decode_payload(telemetry)
    calls = payload.calls if isinstance(payload, ModelCalls) else [payload.call] if isinstance(payload, Settle) else []
    rows = [
        _row(workspace, f"{record_id}/{index}", call, record.offset)
        for index, call in enumerate(calls)
        if call is not None
    ]
    changes.rows[model_calls] += rows


def _id_of(call: ModelCall) -> str:
    """As the guardrails count it: each source has ids of its own, so no row can replace one of another source."""
    if call.source == CallSource.EDGE and call.event_id:
        return f"{EDGE}{call.event_id}"
    is_taken = call.source == CallSource.INGEST and call.event_id.startswith(OTHERS)
    return f"{INGEST}{call.event_id}" if is_taken else call.event_id


def _row(workspace: str, otherwise: str, call: ModelCall, offset: int) -> CallRow:
    row = CallRow(
        workspace=workspace,
        id=key_text(_id_of(call) or otherwise),
        log_offset=offset,
        at_ms=call.ts_ms,
        provider=plain_text(call.provider),
        model=plain_text(call.model),
        endpoint=plain_text(call.endpoint),
        status=call.status,
        latency_ms=call.latency_ms,
        streamed=int(call.stream),
        tokens_in=call.tokens_in,
        tokens_out=call.tokens_out,
        cached_tokens=call.cached_tokens,
        usage=call.usage,
        cost_nano=call.cost_nano,
        price=call.price,
        source=call.source,
        key_id=plain_text(call.key_id),
        project=plain_text(call.project),
        user_id=plain_text(call.user),
        session_id=plain_text(call.session_id),
        trace_id=plain_text(call.trace_id),
        fingerprint=plain_text(call.fingerprint),
        retry_count=call.retry_count,
    )
    if max(value for value in row if isinstance(value, int)) > BIGGEST:
        raise ValueError("a call's number has more than 63 bits")
    return row
