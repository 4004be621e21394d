"""Bodies about webhook endpoints, secrets and replays: from a caller's JSON to a command's payload, all errors at
once. Rows of docs/requirements.md: A-055, A-056, A-068.
"""

from domain.delivery.targets import parse_target
from domain.delivery.webhooks import WebhookType
from domain.events.fields import NO_STREAM, NO_TYPE, is_stream_name, is_type
from domain.events.status import EventStatus
from ingest_gateway.surfaces.events.entity_forms import NO_WORKFLOW_ID, is_workflow_id
from ingest_gateway.surfaces.shared.forms import DESCRIPTION_CHARACTERS_MAX, Form, target_error, text_error
from schemas.commands.fields import OVERLAP_SECONDS_MAX
from schemas.commands.replays import StartReplay
from schemas.commands.webhooks import CreateWebhookEndpoint, RotateSecret

WORKFLOWS_MAX = 50
STREAMS_MAX = 100
NO_TIME = "Expected a time as RFC 3339 has it, with zone, such as 2026-05-18T00:00:00Z."
NO_SPAN = "The time must lie after `from`."
NO_OVERLAP = f"The old secret may be used for 0 to {OVERLAP_SECONDS_MAX} seconds more."
NO_WEBHOOK_TYPE = f"The types of webhooks are {', '.join(WebhookType)}."
NO_STATUS = f"An event's status is one of {', '.join(EventStatus)}."
_ENDPOINT_FIELDS = frozenset({"url", "events", "streams", "description"})
_REPLAY_FIELDS = frozenset({"stream", "from", "to", "status", "type", "workflows"})


def read_new_endpoint(body: bytes, *, allow_private: bool) -> CreateWebhookEndpoint:
    """The body of POST /v1/webhook-endpoints. `events`, `streams` left out: all. Raises Refused with every error."""
    form = Form(body, _ENDPOINT_FIELDS)
    url = form.string("url", target_error(allow_private))
    known = frozenset(WebhookType)
    events = form.texts("events", WORKFLOWS_MAX, lambda text: None if text in known else NO_WEBHOOK_TYPE)
    streams = form.texts("streams", STREAMS_MAX, lambda text: None if is_stream_name(text) else NO_STREAM)
    description = form.string("description", text_error(DESCRIPTION_CHARACTERS_MAX), required=False)
    form.raise_errors()
    target = parse_target(url or "", allow_private)
    return CreateWebhookEndpoint(
        url=target.url, events=events or list(WebhookType), streams=streams, description=description
    )


def read_secret_rotation(target_id: str, body: bytes) -> RotateSecret:
    """The body of POST …/rotate-secret, which may be empty."""
    form = Form(body or b"{}", frozenset({"overlap_seconds"}))
    overlap_seconds = form.overlap_seconds("overlap_seconds", NO_OVERLAP)
    form.raise_errors()
    return RotateSecret(id=target_id, overlap_seconds=overlap_seconds)


def read_event_replay(event_id: str, body: bytes) -> StartReplay:
    """The body of POST /v1/events/{event_id}/replay, which may be empty: then to all routes of the event."""
    form = Form(body or b"{}", frozenset({"workflows"}))
    workflows = _workflows(form)
    form.raise_errors()
    return StartReplay(event_id=event_id, workflows=workflows)


def read_replay(body: bytes, now_ms: int) -> StartReplay:
    """The body of POST /v1/replays. `to` left out: now."""
    form = Form(body, _REPLAY_FIELDS)
    stream = form.string("stream", lambda text: None if is_stream_name(text) else NO_STREAM)
    from_ms = form.time_ms("from", NO_TIME, required=True)
    to_ms = form.time_ms("to", NO_TIME)
    to_ms = now_ms if to_ms is None else to_ms
    if from_ms is not None and to_ms <= from_ms:
        form.refuse("to" if "to" in form.values else "from", NO_SPAN)
    status = form.string("status", lambda text: None if text in frozenset(EventStatus) else NO_STATUS, required=False)
    kind = form.string("type", lambda text: None if is_type(text) else NO_TYPE, required=False)
    workflows = _workflows(form)
    form.raise_errors()
    return StartReplay(
        stream=stream or "",
        from_ms=from_ms or 0,
        to_ms=to_ms,
        event_status=status,
        type=kind,
        workflows=workflows,
    )


def _workflows(form: Form) -> list[str]:
    return form.texts("workflows", WORKFLOWS_MAX, lambda text: None if is_workflow_id(text) else NO_WORKFLOW_ID)
