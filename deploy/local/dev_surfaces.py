"""What dev.json says of each surface: its address and keys of the development workspace (DESIGN, The development run).

The workspace and its keys are made where they are missing, through the log like every other command.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ingest_gateway.log.bootstrap import ensure_development_workspace
from operations.settings import Settings
from schemas.tenants import org_of

Told = dict[str, Any]


def surfaces_told(settings: Settings) -> dict[str, Told]:
    """An entry for each surface that is served. Raises WorkspaceRefused."""
    tokens = ensure_development_workspace(settings)
    return {
        name: {"url": (url := f"http://{settings.host}:{settings.surface_port(name)}"), **told(url, tokens)}
        for name, told in SURFACES.items()
        if name in settings.surfaces
    }


def events(_url: str, tokens: Mapping[str, str]) -> Told:
    return {name: tokens[name] for name in ("workspace_id", "live_key", "test_key", "publishable_key")}


def burn(url: str, tokens: Mapping[str, str]) -> Told:
    return {"key": tokens["burn_key"], "org_id": org_of(tokens["workspace_id"]), "edge_url": url}


SURFACES: dict[str, Callable[[str, Mapping[str, str]], Told]] = {"events": events, "burn": burn}
