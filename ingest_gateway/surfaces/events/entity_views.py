"""How streams and workflows are shown."""

from collections.abc import Iterable
from typing import Any

from schemas.entities import Stream, Workflow
from schemas.times import rfc3339_seconds


def stream_view(stream: Stream) -> dict[str, Any]:
    return {
        "id": stream.id,
        "object": "event_stream",
        "name": stream.name,
        "description": stream.description,
        "retention_days": stream.retention_days,
        "default_routes": stream.default_routes,
        "created_at": rfc3339_seconds(stream.created_ms),
        "workspace_id": stream.workspace,
    }


def workflow_view(workflow: Workflow, signing_secret: str | None = None) -> dict[str, Any]:
    """`signing_secret` is shown in the answer that made the workflow, and never again; a topic's workflow has none."""
    view = {
        "id": workflow.id,
        "object": "workflow",
        "kind": "kafka" if workflow.topic else "http",
        "name": workflow.name,
        "url": workflow.url or None,
        "topic": workflow.topic or None,
        "status": "active" if workflow.disabled_ms is None else "disabled",
        "ordering": workflow.ordering,
        "created_at": rfc3339_seconds(workflow.created_ms),
        "workspace_id": workflow.workspace,
    }
    return view if signing_secret is None else view | {"signing_secret": signing_secret}


def list_view(items: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A whole list: a workspace has so few of these that they fit one page."""
    return {"object": "list", "data": list(items), "has_more": False, "next_cursor": None}
