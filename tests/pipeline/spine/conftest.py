"""The spine with everything behind it: a broker, control, admission, delivery and projection as processes."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.receiver import Receiver
from tests.support.spine_installation import Spine, a_spine, spine_installation
from tests.support.work_installation import WorkInstallation


@pytest.fixture(scope="package")
def installation() -> Iterator[WorkInstallation]:
    with tempfile.TemporaryDirectory(prefix="atlas-spine-") as home, spine_installation(Path(home)) as installed:
        yield installed


@pytest.fixture
async def spine(installation: WorkInstallation) -> AsyncIterator[Spine]:
    """In a workspace of its own."""
    async with a_spine(installation) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running
