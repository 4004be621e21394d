"""The providers' own SDKs. They are imported by the first test that uses one, not by each worker that collects tests:
both take some 3 s of CPU.

    @WITH_SDKS
    async def test_…():
        async with openai.AsyncOpenAI(…) as sdk: …

In a signature their names stand in quotes, or else they are imported at once.
"""

import importlib
import types
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import anthropic
    import openai
else:

    class _WhenUsed(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)  # pytest, which looks whether this is a test
            return getattr(importlib.import_module(self.__name__), name)

    anthropic, openai = _WhenUsed("anthropic"), _WhenUsed("openai")

WITH_SDKS = pytest.mark.xdist_group("with the SDKs of providers")
"""One worker runs all tests that use them, and imports them once."""

__all__ = ["WITH_SDKS", "anthropic", "openai"]
