"""The events surface of one process with a log in memory (tests/support/events_surface.py)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.events_surface import Surface, events_surface


@pytest.fixture
async def surface(tmp_path: Path) -> AsyncIterator[Surface]:
    async with events_surface(tmp_path) as running:
        yield running


@pytest.fixture
async def hurried(tmp_path: Path) -> AsyncIterator[Surface]:
    """The same with hardly any patience for the broker and for verdicts."""
    async with events_surface(tmp_path, append_timeout_seconds=0.05, verdict_timeout_seconds=0.05) as running:
        yield running
