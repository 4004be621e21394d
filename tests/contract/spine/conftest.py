"""The spine's surface of one process with a log in memory (tests/support/spine_surface.py)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.spine_surface import SpineSurface, spine_surface


@pytest.fixture
async def spine(tmp_path: Path) -> AsyncIterator[SpineSurface]:
    async with spine_surface(tmp_path) as running:
        yield running
