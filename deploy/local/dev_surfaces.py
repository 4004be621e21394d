"""What dev.json says of each surface: its address and keys of the development workspace (DESIGN, The development run).

The workspace and its keys are made where they are missing, through the log like every other command.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ingest_gateway.log.bootstrap import ensure_development_workspace
from operations.settings import Settings

Told = dict[str, Any]


def surfaces_told(settings: Settings) -> dict[str, Told]:
    """An entry for each surface that is served. Raises WorkspaceRefused."""
    tokens = ensure_development_workspace(settings)
    return {
        name: {"url": f"http://{settings.host}:{settings.surface_port(name)}", **told(tokens)}
        for name, told in SURFACES.items()
        if name in settings.surfaces
    }


def events(tokens: Mapping[str, str]) -> Told:
    return {name: tokens[name] for name in ("workspace_id", "live_key", "test_key", "publishable_key")}


SURFACES: dict[str, Callable[[Mapping[str, str]], Told]] = {"events": events}
