"""What dev.json says of each surface: its address and keys of the development workspace (README, Start).

The workspace, its keys and its first project are made where they are missing, through the log like every other command.
"""

from collections.abc import Callable, Mapping
from typing import Any

from domain.entities.organizations import org_of
from ingest_gateway.log.bootstrap import ensure_development_workspace
from ingest_gateway.log.first_project import ensure_project
from operations.settings import Settings

SurfaceAccess = dict[str, Any]


def surface_access(settings: Settings) -> dict[str, SurfaceAccess]:
    """An entry for each surface that is served. Raises WorkspaceRefused."""
    tokens = ensure_development_workspace(settings)
    return {
        name: {"url": _url(settings, name), **access(settings, tokens)}
        for name, access in SURFACES.items()
        if name in settings.surfaces
    }


def events(_settings: Settings, tokens: Mapping[str, str]) -> SurfaceAccess:
    return {name: tokens[name] for name in ("workspace_id", "live_key", "test_key", "publishable_key")}


def work(settings: Settings, tokens: Mapping[str, str]) -> SurfaceAccess:
    project_id = ensure_project(settings, tokens["workspace_id"])
    return {"pat": tokens["pat_key"], "read_only_pat": tokens["read_only_pat_key"], "project_id": project_id}


def spine(_settings: Settings, tokens: Mapping[str, str]) -> SurfaceAccess:
    return {"key": tokens["spine_key"], "org_id": org_of(tokens["workspace_id"])}


def burn(settings: Settings, tokens: Mapping[str, str]) -> SurfaceAccess:
    org_id = org_of(tokens["workspace_id"])
    return {"key": tokens["burn_key"], "org_id": org_id, "edge_url": _url(settings, "burn")}


def _url(settings: Settings, surface: str) -> str:
    return f"http://{settings.host}:{settings.surface_port(surface)}"


SURFACES: dict[str, Callable[[Settings, Mapping[str, str]], SurfaceAccess]] = {
    "events": events,
    "work": work,
    "spine": spine,
    "burn": burn,
}
