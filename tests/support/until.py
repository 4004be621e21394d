"""Waiting for what must come to be, however long a slow machine takes; a time-out is a failure and never a pass."""

import asyncio
from collections.abc import Callable

GIVE_UP_SECONDS = 30.0


async def until(fulfilled: Callable[[], bool]) -> None:
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while not fulfilled():  # noqa: ASYNC110 what is waited for has no event to set
            await asyncio.sleep(0.01)
