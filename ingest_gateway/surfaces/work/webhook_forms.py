"""Bodies about webhooks: from a caller's JSON to a command's payload, all errors at once (W-052)."""

from typing import Any

from msgspec import UNSET

from domain.delivery.targets import parse_target
from ingest_gateway.surfaces.shared.forms import (
    DESCRIPTION_CHARACTERS_MAX,
    TWICE,
    Form,
    expected,
    target_error,
    text_error,
)
from schemas.commands.fields import OVERLAP_SECONDS_MAX
from schemas.commands.subscriptions import CreateSubscription, UpdateSubscription
from schemas.commands.webhooks import RotateSecret
from schemas.entities import SubscriptionSurface
from schemas.work import TEST, WorkEvent

EVENTS = (*WorkEvent, TEST)
NO_EVENT = f"The events are {', '.join(EVENTS)}."
NO_EVENTS = "A webhook needs one event or more."
NO_OVERLAP = f"The old secret may be used for 0 to {OVERLAP_SECONDS_MAX} seconds more."
FIELDS = frozenset({"url", "events", "description"})


def read_new_webhook(body: bytes, *, allow_private: bool) -> CreateSubscription:
    """The body of POST /v1/webhooks. Raises Refused with every error."""
    form = Form(body, FIELDS)
    url = form.string("url", target_error(allow_private))
    events = _events(form)
    description = form.string("description", text_error(DESCRIPTION_CHARACTERS_MAX), required=False)
    form.raise_errors()
    return CreateSubscription(
        surface=SubscriptionSurface.WORK,
        url=parse_target(url or "", allow_private).url,
        patterns=events,
        description=description,
    )


def read_webhook_changes(webhook_id: str, body: bytes, *, allow_private: bool) -> UpdateSubscription:
    """The body of PATCH: what is absent stays, null takes the description away."""
    form = Form(body, FIELDS)
    url = form.string("url", target_error(allow_private)) if "url" in form.values else None
    events = _events(form) if "events" in form.values else None
    description = form.string("description", text_error(DESCRIPTION_CHARACTERS_MAX), required=False)
    form.raise_errors()
    return UpdateSubscription(
        id=webhook_id,
        url=UNSET if url is None else parse_target(url, allow_private).url,
        patterns=UNSET if events is None else events,
        description=description if "description" in form.values else UNSET,
    )


def read_secret_rotation(webhook_id: str, body: bytes) -> RotateSecret:
    """The body of POST /v1/webhooks/{webhook}/rotate-secret, which may be empty."""
    form = Form(body or b"{}", frozenset({"overlapSeconds"}))
    overlap_seconds = form.overlap_seconds("overlapSeconds", NO_OVERLAP)
    form.raise_errors()
    return RotateSecret(id=webhook_id, overlap_seconds=overlap_seconds)


def _events(form: Form) -> list[str]:
    value: Any = form.values.get("events")
    if type(value) is not list or not value:
        form.refuse("events", NO_EVENTS if value in (None, []) else expected("an array of events", value))
        return []
    if len(value) > len(EVENTS):
        form.refuse("events", f"The array has {len(value)} entries; there are {len(EVENTS)} events.")
        return []
    for index, entry in enumerate(value):
        if entry not in EVENTS:
            form.refuse(f"events[{index}]", NO_EVENT)
        elif entry in value[:index]:
            form.refuse(f"events[{index}]", TWICE)
    return value
