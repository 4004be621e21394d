"""The work surface on the real gateway, with real control and projection processes and a broker behind it."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.work_installation import WorkInstallation, WorkSurface, an_installation


@pytest.fixture(scope="package")
def installation() -> Iterator[WorkInstallation]:
    with tempfile.TemporaryDirectory(prefix="atlas-work-") as home, an_installation(Path(home)) as installed:
        yield installed


@pytest.fixture
async def work(installation: WorkInstallation) -> AsyncIterator[WorkSurface]:
    """In a workspace of its own."""
    async with installation.surface() as surface:
        yield surface
