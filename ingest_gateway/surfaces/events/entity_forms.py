"""Bodies that create or change streams and workflows: from a caller's JSON to a command's payload, all errors at once.

Only the form is checked here; the control agent decides whether a name is taken or a workflow exists. Rows of
docs/requirements.md: A-018 to A-026.
"""

import re
from collections.abc import Callable

from msgspec import UNSET

from domain.delivery.targets import parse_target
from domain.events.fields import NO_STREAM, is_stream_name
from ingest_gateway.surfaces.shared.forms import (
    DESCRIPTION_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    Form,
    expected,
    target_error,
    text_error,
)
from schemas.commands.streams import (
    RETENTION_DAYS_DEFAULT,
    RETENTION_DAYS_MAX,
    RETENTION_DAYS_MIN,
    CreateStream,
    UpdateStream,
)
from schemas.commands.workflows import CreateWorkflow
from schemas.entities import Ordering

DEFAULT_ROUTES_MAX = 50
NO_WORKFLOW_ID = "A workflow's id is wf_ and 1 to 64 characters of A-Z, a-z, 0-9 and the underscore."

WORKFLOW_ID = re.compile(r"wf_[A-Za-z0-9_]{1,64}")
_STREAM_FIELDS = frozenset({"name", "description", "retention_days", "default_routes"})
_STREAM_CHANGES = _STREAM_FIELDS - {"name"}
_WORKFLOW_FIELDS = frozenset({"id", "kind", "name", "url", "topic", "ordering"})
_WORKFLOW_KINDS = ("http", "kafka")


def read_new_stream(body: bytes) -> CreateStream:
    """The body of POST /v1/event-streams. Raises Refused with every error."""
    form = Form(body, _STREAM_FIELDS)
    name = form.string("name", lambda text: None if is_stream_name(text) else NO_STREAM)
    description = form.string("description", text_error(DESCRIPTION_CHARACTERS_MAX), required=False)
    retention_days = _retention_days(form)
    default_routes = _default_routes(form)
    form.raise_errors()
    return CreateStream(
        name=name or "",
        description=description,
        retention_days=retention_days,
        default_routes=default_routes,
    )


def read_stream_changes(stream: str, body: bytes) -> UpdateStream:
    """The body of PATCH: what is absent stays; null removes the description and gives the others their default."""
    form = Form(body, _STREAM_CHANGES)
    if "name" in form.values:
        form.errors = [error for error in form.errors if error.field != "name"]
        form.refuse("name", "A stream's name can't be changed.")
    description = form.string("description", text_error(DESCRIPTION_CHARACTERS_MAX), required=False)
    retention_days = _retention_days(form)
    default_routes = _default_routes(form)
    form.raise_errors()
    return UpdateStream(
        stream=stream,
        description=description if "description" in form.values else UNSET,
        retention_days=retention_days if "retention_days" in form.values else UNSET,
        default_routes=default_routes if "default_routes" in form.values else UNSET,
    )


def read_new_workflow(body: bytes, *, allow_private: bool, topic_prefix: str) -> CreateWorkflow:
    """The body of POST /v1/workflows. `allow_private` (development) allows http and private addresses;
    `topic_prefix`: what the name of a topic must begin with.
    """
    form = Form(body, _WORKFLOW_FIELDS)
    kind = form.string("kind", _kind_error, required=False) or "http"
    workflow_id = form.string("id", lambda text: None if is_workflow_id(text) else NO_WORKFLOW_ID, required=False)
    name = form.string("name", text_error(NAME_CHARACTERS_MAX, least=1))
    url = topic = None
    if kind == "kafka":
        topic = form.string("topic", _topic_error(topic_prefix))
        _not_of_kind(form, "url", kind)
    else:
        url = form.string("url", target_error(allow_private))
        _not_of_kind(form, "topic", kind)
    ordering = form.string("ordering", _ordering_error, required=False)
    form.raise_errors()
    return CreateWorkflow(
        id=workflow_id,
        name=name or "",
        url="" if url is None else parse_target(url, allow_private).url,
        topic=topic or "",
        ordering=Ordering(ordering or Ordering.NONE),
    )


def _not_of_kind(form: Form, field: str, kind: str) -> None:
    if form.values.get(field) is not None:
        form.refuse(field, f"A workflow of kind {kind} has no {field}.")


def _retention_days(form: Form) -> int:
    value = form.values.get("retention_days")
    if value is None:
        return RETENTION_DAYS_DEFAULT
    if type(value) is not int:
        form.refuse("retention_days", expected("a whole number of days", value))
    elif not RETENTION_DAYS_MIN <= value <= RETENTION_DAYS_MAX:
        form.refuse("retention_days", f"A stream is kept for {RETENTION_DAYS_MIN} to {RETENTION_DAYS_MAX} days.")
    else:
        return value
    return RETENTION_DAYS_DEFAULT


def _default_routes(form: Form) -> list[str]:
    value = form.values.get("default_routes")
    if value is None:
        return []
    if type(value) is not list:
        form.refuse("default_routes", expected("an array of workflow ids", value))
        return []
    if len(value) > DEFAULT_ROUTES_MAX:
        form.refuse("default_routes", f"The array has {len(value)} ids; {DEFAULT_ROUTES_MAX} are allowed.")
    seen: set[str] = set()
    for index, route in enumerate(value):
        if type(route) is not str:
            form.refuse(f"default_routes[{index}]", expected("a workflow id", route))
        elif not is_workflow_id(route):
            form.refuse(f"default_routes[{index}]", NO_WORKFLOW_ID)
        elif route in seen:
            form.refuse(f"default_routes[{index}]", "The workflow is named twice.")
        else:
            seen.add(route)
    return value


def _ordering_error(text: str) -> str | None:
    return None if text in list(Ordering) else f"Must be {' or '.join(Ordering)}."


def _kind_error(text: str) -> str | None:
    return None if text in _WORKFLOW_KINDS else f"Must be {' or '.join(_WORKFLOW_KINDS)}."


def _topic_error(prefix: str) -> Callable[[str], str | None]:
    def error_in(text: str) -> str | None:
        if text.startswith(prefix) and is_stream_name(text.removeprefix(prefix)):
            return None
        return f"The topic's name must be {prefix} and 3 to 64 characters of a-z, 0-9 and the hyphen."

    return error_in


def is_workflow_id(text: str) -> bool:
    return WORKFLOW_ID.fullmatch(text) is not None
