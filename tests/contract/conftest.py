"""What several folders of contract tests need."""

import io
import logging
from collections.abc import Iterator

import pytest

from operations.logs import JsonFormatter


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a process with the most talkative log would write."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("gateway"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
