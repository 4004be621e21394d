"""How webhook endpoints and replays are shown."""

from typing import Any

from schemas.entities import Replay, WebhookEndpoint
from schemas.times import rfc3339, rfc3339_seconds


def endpoint_view(endpoint: WebhookEndpoint, signing_secret: str | None = None) -> dict[str, Any]:
    """`signing_secret` is shown in the answer that made it, and never again."""
    view = {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "url": endpoint.url,
        "events": endpoint.events,
        "streams": endpoint.streams,
        "description": endpoint.description,
        "status": "active" if endpoint.disabled_ms is None else "disabled",
        "disabled_at": _time(endpoint.disabled_ms),
        "created_at": rfc3339_seconds(endpoint.created_ms),
        "workspace_id": endpoint.workspace,
    }
    return view if signing_secret is None else view | secret_view(endpoint.previous_until_ms, signing_secret)


def secret_view(previous_until_ms: int | None, signing_secret: str) -> dict[str, Any]:
    """A new secret; the one before, where there is one, signs too until then."""
    view: dict[str, Any] = {"signing_secret": signing_secret}
    return view if previous_until_ms is None else view | {"previous_secret_until": rfc3339(previous_until_ms)}


def replay_view(replay: Replay) -> dict[str, Any]:
    """`number` is what `X-Atlas-Replay` says."""
    about: dict[str, Any] = {"event_id": replay.event_id}
    if not replay.event_id:
        about = {
            "stream": replay.stream,
            "from": rfc3339(replay.from_ms),
            "to": rfc3339(replay.to_ms),
            "event_status": replay.event_status,
            "type": replay.type,
        }
    return {
        "id": replay.id,
        "object": "replay",
        "number": replay.number,
        "status": replay.status,
        **about,
        "workflows": replay.workflows or None,
        "replayed": replay.replayed,
        "skipped": replay.skipped,
        "created_at": rfc3339_seconds(replay.created_ms),
        "ended_at": _time(replay.ended_ms),
        "workspace_id": replay.workspace,
    }


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else rfc3339_seconds(time_ms)
