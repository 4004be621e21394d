"""Bodies about webhook endpoints, secrets and replays: from a stranger's JSON to a command's payload. Pure.

All faults at once. Sources: seeds/000 (Webhooks); DECISIONS A-055, A-056, A-068.
"""

from collections.abc import Callable

from ingest_gateway.surfaces.events.entity_forms import (
    DESCRIPTION_CHARACTERS_MAX,
    NO_WORKFLOW_ID,
    Form,
    expected,
    is_workflow_id,
    target_fault,
    text_fault,
)
from schemas.commands import (
    OVERLAP_SECONDS_DEFAULT,
    OVERLAP_SECONDS_MAX,
    CreateWebhookEndpoint,
    RotateSecret,
    StartReplay,
)
from schemas.event_fields import NO_STREAM, NO_TYPE, is_stream_name, is_type, time_ms
from schemas.event_status import Status
from schemas.targets import parse_target
from schemas.webhooks import WebhookType

WORKFLOWS_MAX = 50
NO_TIME = "Expected a time as RFC 3339 has it, with zone, such as 2026-05-18T00:00:00Z."
NO_SPAN = "The time must lie after `from`."
NO_OVERLAP = f"The old secret may be used for 0 to {OVERLAP_SECONDS_MAX} seconds more."
NO_WEBHOOK_TYPE = f"The types of webhooks are {', '.join(WebhookType)}."
NO_STATUS = f"An event's status is one of {', '.join(Status)}."
TWICE = "The entry stands twice."
_ENDPOINT_FIELDS = frozenset({"url", "events", "description"})
_REPLAY_FIELDS = frozenset({"stream", "from", "to", "status", "type", "workflows"})


def read_new_endpoint(body: bytes, *, allow_private: bool) -> CreateWebhookEndpoint:
    """The body of POST /v1/webhook-endpoints. `events` left out: all. Raises Refused with every fault."""
    form = Form(body, _ENDPOINT_FIELDS)
    url = form.string("url", target_fault(allow_private))
    known = frozenset(WebhookType)
    events = _texts(form, "events", lambda text: None if text in known else NO_WEBHOOK_TYPE)
    description = form.string("description", text_fault(DESCRIPTION_CHARACTERS_MAX), required=False)
    form.raise_faults()
    target = parse_target(url or "", allow_private)
    return CreateWebhookEndpoint(url=target.url, events=events or list(WebhookType), description=description)


def read_secret_rotation(target_id: str, body: bytes) -> RotateSecret:
    """The body of POST …/rotate-secret, which may be empty."""
    form = Form(body or b"{}", frozenset({"overlap_seconds"}))
    value = form.values.get("overlap_seconds")
    if value is None:
        value = OVERLAP_SECONDS_DEFAULT
    elif type(value) is not int:
        form.refuse("overlap_seconds", expected("a whole number of seconds", value))
    elif not 0 <= value <= OVERLAP_SECONDS_MAX:
        form.refuse("overlap_seconds", NO_OVERLAP)
    form.raise_faults()
    return RotateSecret(id=target_id, overlap_seconds=value)


def read_event_replay(event_id: str, body: bytes) -> StartReplay:
    """The body of POST /v1/events/{event_id}/replay, which may be empty: then to all routes of the event."""
    form = Form(body or b"{}", frozenset({"workflows"}))
    workflows = _workflows(form)
    form.raise_faults()
    return StartReplay(event_id=event_id, workflows=workflows)


def read_replay(body: bytes, now_ms: int) -> StartReplay:
    """The body of POST /v1/replays. `to` left out: now."""
    form = Form(body, _REPLAY_FIELDS)
    stream = form.string("stream", lambda text: None if is_stream_name(text) else NO_STREAM)
    from_ms = _time_ms(form, "from", required=True)
    to_ms = _time_ms(form, "to", required=False)
    to_ms = now_ms if to_ms is None else to_ms
    if from_ms is not None and to_ms <= from_ms:
        form.refuse("to" if "to" in form.values else "from", NO_SPAN)
    status = form.string("status", lambda text: None if text in frozenset(Status) else NO_STATUS, required=False)
    kind = form.string("type", lambda text: None if is_type(text) else NO_TYPE, required=False)
    workflows = _workflows(form)
    form.raise_faults()
    return StartReplay(
        stream=stream or "",
        from_ms=from_ms or 0,
        to_ms=to_ms,
        event_status=status,
        type=kind,
        workflows=workflows,
    )


def _workflows(form: Form) -> list[str]:
    return _texts(form, "workflows", lambda text: None if is_workflow_id(text) else NO_WORKFLOW_ID)


def _time_ms(form: Form, field: str, *, required: bool) -> int | None:
    text = form.string(field, lambda text: NO_TIME if time_ms(text) is None else None, required=required)
    return None if text is None else time_ms(text)


def _texts(form: Form, field: str, fault_of: Callable[[str], str | None]) -> list[str]:
    """An array of different texts; empty for null and for what is absent."""
    value = form.values.get(field)
    if value is None:
        return []
    if type(value) is not list:
        form.refuse(field, expected("an array of texts", value))
        return []
    if len(value) > WORKFLOWS_MAX:
        form.refuse(field, f"The array has {len(value)} entries; {WORKFLOWS_MAX} are allowed.")
        return []
    for index, entry in enumerate(value):
        fault = fault_of(entry) if type(entry) is str else expected("a text", entry)
        if fault is None and entry in value[:index]:
            fault = TWICE
        if fault is not None:
            form.refuse(f"{field}[{index}]", fault)
    return value
