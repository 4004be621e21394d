"""The burn surface's edge proxy in front of a provider stub, with a log in memory (tests/support/edge_surface.py)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.edge_surface import EdgeSurface, edge_surface


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[EdgeSurface]:
    async with edge_surface(tmp_path) as running:
        yield running


@pytest.fixture
async def hurried(tmp_path: Path) -> AsyncIterator[EdgeSurface]:
    """With hardly any patience for providers, for the log and for verdicts."""
    async with edge_surface(
        tmp_path,
        ATLAS_EDGE_TIMEOUT_SECONDS="0.2",
        ATLAS_APPEND_TIMEOUT_SECONDS="0.2",
        ATLAS_VERDICT_TIMEOUT_SECONDS="0.2",
    ) as running:
        yield running
